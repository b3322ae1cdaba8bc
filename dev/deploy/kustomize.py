"""Builds kustomizations as `kubectl kustomize` does, as far as ours go: what it doesn't know, it refuses.

Names of generated ConfigMaps get no hash. A test compares the two wherever kubectl is.
"""

import copy

import yaml

KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "images", "patches"}
# What tells the members of a list apart where a strategic merge patch goes into it.
MERGE_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}


def build(folder, components=()):
    """All documents of a folder's kustomization, as if it named these components too."""
    documents = []
    _add(documents, folder, components)
    return documents


def _add(documents, folder, components=()):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    unknown = set(kustomization) - KNOWN
    if unknown:
        raise ValueError(f"{folder}/kustomization.yaml: kustomize.py doesn't know {', '.join(sorted(unknown))}")
    # A component changes what is there already, another kustomization only what it brings.
    own = documents if kustomization["kind"] == "Component" else []
    for path in kustomization.get("resources", []):
        if (folder / path).is_dir():
            _add(own, folder / path)
        else:
            own.extend(yaml.safe_load_all((folder / path).read_text(encoding="utf-8")))
    for path in [*kustomization.get("components", []), *components]:
        _add(own, folder / path)
    for generator in kustomization.get("configMapGenerator", []):
        _generate(own, folder, generator)
    for patch in kustomization.get("patches", []):
        change = yaml.safe_load((folder / patch["path"]).read_text(encoding="utf-8"))
        target = find(own, change["kind"], change["metadata"]["name"])
        own[own.index(target)] = _merged(target, change)
    for image in kustomization.get("images", []):
        _set_image(own, image)
    if "namespace" in kustomization:
        for document in own:
            if document["kind"] != "Namespace":
                document["metadata"]["namespace"] = kustomization["namespace"]
    if own is not documents:
        documents.extend(own)


def find(documents, kind, name="silt"):
    found = [one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name]
    if len(found) != 1:
        raise LookupError(f"there are {len(found)} {kind} {name}")
    return found[0]


def _generate(documents, folder, generator):
    data = {}
    for path in generator.get("envs", []):
        lines = (folder / path).read_text(encoding="utf-8").splitlines()
        data.update(line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    for path in generator.get("files", []):
        data[path] = (folder / path).read_text(encoding="utf-8")
    if generator.get("behavior") == "merge":
        find(documents, "ConfigMap", generator["name"])["data"].update(data)
        return
    metadata = {"name": generator["name"]}
    if "labels" in generator.get("options", {}):
        metadata["labels"] = generator["options"]["labels"]
    documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _merged(base, change):
    """A strategic merge: objects by key, known lists by their members' key, all else replaced."""
    result = copy.deepcopy(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        elif isinstance(value, list) and key in MERGE_KEYS:
            result[key] = _merged_list(result.get(key, []), value, MERGE_KEYS[key])
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merged_list(base, changes, key):
    members = {member[key]: member for member in base}
    for change in changes:
        if change.get("$patch") == "delete":
            members.pop(change[key], None)
        else:
            members[change[key]] = _merged(members.get(change[key], {}), change)
    return list(members.values())


def _set_image(documents, image):
    for document in documents:
        if document["kind"] != "Deployment":
            continue
        for container in document["spec"]["template"]["spec"]["containers"]:
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
