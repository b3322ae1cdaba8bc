# Turns silt's Deployment into a Job that runs `silt check` in the same pod: with its image, settings, secrets and identity.
{
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name: "silt-check", namespace: .metadata.namespace },
  spec: {
    backoffLimit: 0,
    template: (
      .spec.template
      | .metadata |= { labels }
      | .spec.restartPolicy = "Never"
      | .spec.containers[0] |= (.args = ["check"] | del(.startupProbe, .livenessProbe, .readinessProbe))
    )
  }
}
