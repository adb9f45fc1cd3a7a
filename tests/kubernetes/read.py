"""Reads manifests from standard input and writes JSON: the documents, and what the schemas say.

Kubernetes reads YAML as version 1.1, and so does this. With a version of Kubernetes as its argument
it validates; without one it only reads. The schemas are strict: a field that they do not know is a
mistake. Kinds without a schema (other people's resource types) are listed as such.
"""

import json
import sys

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def name_of(document):
    return f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"


def validate(documents, version):
    """Returns what is wrong, and the kinds for which there is no schema."""
    import kubernetes_validate

    problems, unknown = [], []
    for document in documents:
        name = name_of(document)
        try:
            against = kubernetes_validate.validate(document, version, strict=True)
            if against != version:
                problems.append(f"{name}: validated against {against}, not against {version}")
        except kubernetes_validate.ValidationError as error:
            where = ".".join(str(step) for step in error.path)
            problems.append(f"{name}: {where}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(document.get("kind"))
    return problems, unknown


documents = [one for one in yaml.load_all(sys.stdin, LOADER) if one is not None]
problems, unknown = validate(documents, sys.argv[1]) if sys.argv[1:] else ([], [])
json.dump({"documents": documents, "problems": problems, "unknown": unknown}, sys.stdout)
