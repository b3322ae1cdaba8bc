"""The manifests of k8s/, each way to combine them, against Kubernetes' own schemas and against silt."""

import copy
import functools
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import tools

tools.schemas()
tools.python()

import jq
import kubernetes_validate
import yaml

from deploy import dockerfile, kustomize, project

K8S = project.ROOT / "k8s"
COMPONENTS = ["workload-identity", "secret-files", "settings-file", "prometheus", "grafana"]
KUBERNETES = ["1.27.0", "1.37.0"]  # the oldest with all fields that are used, and the newest that the package knows
OPERATOR = "monitoring.coreos.com/v1"


def combinations():
    """The documents of k8s/, of each overlay, and of k8s/ with every choice of components."""
    yield "k8s", kustomize.build(K8S)
    for overlay in sorted((K8S / "overlays").iterdir()):
        yield f"overlays/{overlay.name}", kustomize.build(overlay)
    for count in range(1, len(COMPONENTS) + 1):
        for chosen in itertools.combinations(COMPONENTS, count):
            yield " + ".join(chosen), kustomize.build(K8S, [f"components/{name}" for name in chosen])


ALL = dict(combinations())


def pod(documents):
    return kustomize.find(documents, "Deployment")["spec"]["template"]


def container(documents):
    (only,) = pod(documents)["spec"]["containers"]
    return only


def environment(documents):
    """What the container's environment names, with the values that stand in the manifests."""
    named = dict(kustomize.find(documents, "ConfigMap")["data"])
    for variable in container(documents)["env"]:
        named[variable["name"]] = variable.get("value")
    return named


def against_kubernetes(document):
    """Raises what the schema of any of the versions has against it; fields that it doesn't know are refused."""
    for version in KUBERNETES:
        kubernetes_validate.validate(document, version, strict=True)


class SchemaTest(unittest.TestCase):
    def test_kubernetes_knows_every_field(self):
        documents = different(lambda document: document["apiVersion"] != OPERATOR)
        documents.append(yaml.safe_load(project.text("k8s/secret.example.yaml")))
        self.assertGreater(len(documents), 8)
        for document in documents:
            with self.subTest(f"{document['kind']} {document['metadata']['name']}"):
                against_kubernetes(document)

    def test_the_operator_knows_every_field(self):
        documents = different(lambda document: document["apiVersion"] == OPERATOR)
        self.assertEqual({one["kind"] for one in documents}, {"PrometheusRule", "ServiceMonitor"})
        for document, wrong in zip(documents, against_operator(documents)):
            self.assertEqual(wrong, [], document["kind"])

    def test_an_unknown_field_is_refused(self):
        documents = ALL["prometheus"]
        for kind in ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"]:
            broken = copy.deepcopy(kustomize.find(documents, kind))
            broken["spec"]["replica"] = 1
            with self.subTest(kind), self.assertRaises(kubernetes_validate.ValidationError):
                against_kubernetes(broken)
        monitor = copy.deepcopy(kustomize.find(documents, "ServiceMonitor"))
        monitor["spec"]["endpoints"][0]["intervall"] = "30s"
        rule = copy.deepcopy(kustomize.find(documents, "PrometheusRule"))
        rule["spec"]["groups"][0]["rules"][0]["for"] = "five minutes"
        for wrong in against_operator([monitor, rule]):
            self.assertNotEqual(wrong, [])


def different(chosen):
    """The chosen documents of all combinations, each once."""
    found = {json.dumps(one): one for built in ALL.values() for one in built if chosen(one)}
    return list(found.values())


def against_operator(documents):
    """For each document what the Prometheus operator's types have against it."""
    folder = tools.schemas()
    command = ["node", str(project.ROOT / "dev/deploy/node/operator.js"), str(folder)]
    done = subprocess.run(command, input=json.dumps(documents), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


class KustomizeTest(unittest.TestCase):
    @project.where("kubectl", "that it builds what the tests look at")
    def test_kubectl_builds_the_same(self):
        for folder in [K8S, *(K8S / "overlays").iterdir()]:
            self.assertEqual(by_kubectl(folder), sorted(map(plain, kustomize.build(folder))), folder)

    @project.where("kubectl", "that components need only their comment signs taken away")
    def test_components_need_only_their_comment_signs_taken_away(self):
        with tempfile.TemporaryDirectory() as folder:
            copied = shutil.copytree(K8S, Path(folder) / "k8s")
            file = copied / "kustomization.yaml"
            file.write_text(re.sub(r"^# (components:|  - )", r"\1", file.read_text(), flags=re.M))
            self.assertEqual(by_kubectl(copied), sorted(map(plain, ALL[" + ".join(COMPONENTS)])))

    def test_all_is_in_the_namespace(self):
        for name, documents in ALL.items():
            namespace = kustomize.find(documents, "Namespace")["metadata"]["name"]
            places = {one["metadata"].get("namespace") for one in documents if one["kind"] != "Namespace"}
            self.assertEqual(places, {namespace}, name)

    def test_no_patch_is_left_in_a_manifest(self):
        for name, documents in ALL.items():
            self.assertNotIn("$patch", json.dumps(documents), name)


def by_kubectl(folder):
    """What kubectl builds, in a form to compare."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return sorted(plain(without_hash(one)) for one in yaml.safe_load_all(done.stdout))


def without_hash(document):
    """kubectl's document with the plain names of generated ConfigMaps."""
    metadata = document["metadata"]
    if document["kind"] == "ConfigMap" and metadata["name"].startswith("silt-") and "labels" not in metadata:
        metadata["name"] = metadata["name"].rsplit("-", 1)[0]
    if document["kind"] == "Deployment":
        volumes = pod([document])["spec"].get("volumes", [])
        named = [source["configMapRef"] for source in container([document])["envFrom"]]
        for name in named + [volume["configMap"] for volume in volumes if "configMap" in volume]:
            name["name"] = name["name"].rsplit("-", 1)[0]
    return document


def plain(value):
    """A text that is the same for the same content, whatever the order in lists of objects."""
    if isinstance(value, dict):
        return json.dumps({key: plain(member) for key, member in value.items()}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps(sorted(map(plain, value)))
    return json.dumps(value)


class SettingsTest(unittest.TestCase):
    def test_every_variable_is_a_setting(self):
        for name, documents in ALL.items():
            self.assertLessEqual(environment(documents).keys(), project.settings().keys(), name)

    def test_secrets_come_from_the_secret_alone(self):
        for name, documents in ALL.items():
            config = kustomize.find(documents, "ConfigMap")["data"]
            self.assertFalse(project.secrets() & config.keys(), name)
            for variable in container(documents)["env"]:
                if variable["name"] in project.secrets():
                    reference = variable["valueFrom"]["secretKeyRef"]
                    self.assertEqual((reference["name"], reference["key"]), ("silt", variable["name"]))
                    required = project.settings()[variable["name"]] is None and variable["name"] == "MONGODB_URI"
                    self.assertEqual(reference.get("optional", False), not required, variable["name"])

    def test_a_secret_is_given_once(self):
        for name, documents in ALL.items():
            names = [variable["name"] for variable in container(documents)["env"]]
            self.assertEqual(len(names), len(set(names)))
            for secret in project.secrets():
                self.assertFalse({secret, f"{secret}_FILE"} <= set(names), name)
            self.assertTrue({"MONGODB_URI", "MONGODB_URI_FILE"} & set(names), name)

    def test_secret_files_are_where_the_secret_is_mounted(self):
        documents = ALL["secret-files"]
        files = {name: value for name, value in environment(documents).items() if name.endswith("_FILE")}
        self.assertIn("MONGODB_URI_FILE", files)
        self.assertFalse(project.secrets() & environment(documents).keys())
        (mount,) = container(documents)["volumeMounts"]
        (volume,) = pod(documents)["spec"]["volumes"]
        self.assertEqual((mount["name"], volume["secret"]["secretName"]), (volume["name"], "silt"))
        for name, path in files.items():
            self.assertEqual(path, f"{mount['mountPath']}/{name[: -len('_FILE')]}")

    def test_the_settings_file_is_where_it_is_mounted(self):
        documents = ALL["settings-file"]
        (mount,) = container(documents)["volumeMounts"]
        (volume,) = pod(documents)["spec"]["volumes"]
        (file,) = kustomize.find(documents, "ConfigMap", volume["configMap"]["name"])["data"]
        self.assertEqual(mount["name"], volume["name"])
        self.assertEqual(environment(documents)["SILT_CONFIG"], f"{mount['mountPath']}/{file}")

    def test_the_settings_file_names_settings_and_no_secret(self):
        text = project.text("k8s/components/settings-file/silt.toml")
        named = set(re.findall(r"^#? ?([A-Z_]+) =", text, re.M))
        self.assertTrue(named)
        self.assertLessEqual(named, project.settings().keys() - project.secrets())

    def test_the_example_holds_what_the_deployment_asks_for(self):
        example = yaml.safe_load(project.text("k8s/secret.example.yaml"))
        self.assertIn("MONGODB_URI", example["stringData"])
        self.assertLessEqual(example["stringData"].keys(), project.secrets())
        namespace = kustomize.find(ALL["k8s"], "Namespace")["metadata"]["name"]
        self.assertEqual(example["metadata"]["namespace"], namespace)

    def test_the_example_is_in_no_kustomization(self):
        for name, documents in ALL.items():
            self.assertNotIn("Secret", [document["kind"] for document in documents], name)


def check_job(documents):
    """What k8s/check.jq makes of the Deployment."""
    return jq.compile(project.text("k8s/check.jq")).input_value(kustomize.find(documents, "Deployment")).first()


def of_each(test):
    """Makes a test of one combination's documents a test of all."""
    @functools.wraps(test)
    def run(self):
        for name, documents in ALL.items():
            with self.subTest(name):
                test(self, documents)

    return run


class CheckTest(unittest.TestCase):
    def test_the_job_is_silts_pod(self):
        for name, documents in ALL.items():
            with self.subTest(name):
                job = check_job(documents)
                against_kubernetes(job)
                self.assertEqual(job["metadata"]["namespace"], "silt")
                self.assertEqual(job["spec"]["template"]["metadata"], pod(documents)["metadata"])
                spec, silts = job["spec"]["template"]["spec"], copy.deepcopy(pod(documents)["spec"])
                probes = [silts["containers"][0].pop(probe) for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
                self.assertTrue(all(probes))
                silts["containers"][0]["args"] = ["check"]
                self.assertEqual(spec, {**silts, "restartPolicy": "Never"})

    def test_the_page_keeps_silt_from_running_before_it(self):
        page = project.text("docs/deploying.md")
        self.assertIn("sed 's/replicas: 1/replicas: 0/'", page)
        self.assertEqual(project.text("k8s/base/deployment.yaml").count("replicas: 1"), 1)
        others = [path for path in K8S.rglob("*.yaml") if path.name != "deployment.yaml"]
        self.assertFalse([path for path in others if "replicas: 1" in path.read_text(encoding="utf-8")])


class DeploymentTest(unittest.TestCase):
    @of_each
    def test_a_drain_has_its_time(self, documents):
        grace = pod(documents)["spec"]["terminationGracePeriodSeconds"]
        self.assertGreater(grace, project.shutdown_seconds(environment(documents)))

    @of_each
    def test_one_pod_at_a_time(self, documents):
        spec = kustomize.find(documents, "Deployment")["spec"]
        self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))

    @of_each
    def test_a_node_can_be_drained(self, documents):
        budget = kustomize.find(documents, "PodDisruptionBudget")["spec"]
        self.assertNotIn("minAvailable", budget)
        self.assertEqual(budget["maxUnavailable"], 1)

    @of_each
    def test_it_runs_as_the_images_user(self, documents):
        user, group = dockerfile.read().final.last("USER").split(":")
        security = pod(documents)["spec"]["securityContext"]
        self.assertEqual((str(security["runAsUser"]), str(security["runAsGroup"])), (user, group))

    @of_each
    def test_it_keeps_the_restricted_standard(self, documents):
        namespace = kustomize.find(ALL["k8s"], "Namespace")
        self.assertEqual(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted")
        spec, security = pod(documents)["spec"], container(documents)["securityContext"]
        self.assertTrue(spec["securityContext"]["runAsNonRoot"])
        self.assertEqual(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
        self.assertIs(spec["automountServiceAccountToken"], False)
        self.assertIs(security["allowPrivilegeEscalation"], False)
        self.assertIs(security["readOnlyRootFilesystem"], True)
        self.assertEqual(security["capabilities"], {"drop": ["ALL"]})

    def test_it_asks_for_what_it_needs(self):
        resources = container(ALL["k8s"])["resources"]
        self.assertEqual(resources["requests"], {"cpu": "100m", "memory": "256Mi"})
        self.assertEqual(resources["limits"], {"cpu": "500m", "memory": "512Mi"})

    @of_each
    def test_probes_ask_what_they_should(self, documents):
        asked = {kind: container(documents)[kind]["httpGet"] for kind in
                 ("startupProbe", "livenessProbe", "readinessProbe")}
        paths = {kind: get["path"] for kind, get in asked.items()}
        self.assertEqual(paths, {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"})
        for path in set(paths.values()):
            self.assertIn(f'"{path}"', project.text("src/http/mod.rs"))
        self.assertEqual({get["port"] for get in asked.values()}, {"http"})

    @of_each
    def test_all_speak_of_one_port(self, documents):
        (port,) = container(documents)["ports"]
        self.assertEqual(environment(documents)["HTTP_ADDR"], f"0.0.0.0:{port['containerPort']}")
        (service,) = kustomize.find(documents, "Service")["spec"]["ports"]
        self.assertEqual((service["port"], service["targetPort"]), (port["containerPort"], port["name"]))
        (rule,) = kustomize.find(documents, "NetworkPolicy")["spec"]["ingress"]
        self.assertEqual([one["port"] for one in rule["ports"]], [port["containerPort"]])

    @of_each
    def test_all_choose_the_pod(self, documents):
        labels = pod(documents)["metadata"]["labels"]
        deployment, service, policy, budget = (
            kustomize.find(documents, kind)["spec"]
            for kind in ("Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget")
        )
        for selector in [deployment["selector"]["matchLabels"], service["selector"],
                         policy["podSelector"]["matchLabels"], budget["selector"]["matchLabels"]]:
            self.assertTrue(selector)
            self.assertLessEqual(selector.items(), labels.items())

    def test_it_reaches_what_it_needs_and_no_more(self):
        spec = kustomize.find(ALL["k8s"], "NetworkPolicy")["spec"]
        self.assertEqual(spec["policyTypes"], ["Ingress", "Egress"])
        ports = {(port["protocol"], port["port"], port.get("endPort")) for rule in spec["egress"] for port in rule["ports"]}
        self.assertEqual(ports, {("UDP", 53, None), ("TCP", 53, None), ("TCP", 27015, 27017), ("TCP", 443, None)})

    @of_each
    def test_it_has_an_identity_of_its_own(self, documents):
        account = kustomize.find(documents, "ServiceAccount")
        self.assertEqual(pod(documents)["spec"]["serviceAccountName"], account["metadata"]["name"])

    def test_workload_identity_is_asked_for_on_both_sides(self):
        documents = ALL["workload-identity"]
        self.assertEqual(pod(documents)["metadata"]["labels"]["azure.workload.identity/use"], "true")
        account = kustomize.find(documents, "ServiceAccount")
        self.assertIn("azure.workload.identity/client-id", account["metadata"]["annotations"])
        self.assertNotIn("AZURE_STORAGE_ACCOUNT_KEY", environment(documents))


if __name__ == "__main__":
    unittest.main()
