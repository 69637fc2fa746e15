"""Holds what a server has answered against its OpenAPI document.

    api.py DOCUMENT ANSWERS

An answer is a line of JSON: method, path, question, status, kind, body. Says how many there were."""
import json, re, sys
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

document, answers = (open(name).read() for name in sys.argv[1:])
document = json.loads(document)
answers = [json.loads(line) for line in answers.splitlines()]
OpenAPIV31SpecValidator(document).validate()

# What the document does not name, an answer does not have.
for schema in document["components"]["schemas"].values():
    if "properties" in schema:
        schema.setdefault("unevaluatedProperties", False)


def judge(media):
    return Draft202012Validator({**media["schema"], "components": document["components"]})


def path_of(asked):
    asked = asked.split("?")[0]
    for path in sorted(document["paths"], key=lambda path: path.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked):
            return path
    raise SystemExit(f"{asked} is not in the document")


seen = set()
for answer in answers:
    path, method, status = path_of(answer["path"]), answer["method"], answer["status"]
    what = f"{method} {answer['path']} {status}: {answer['body'][:300]}"
    operation = document["paths"][path][method.lower()]
    assert str(status) in operation["responses"], what
    [(kind, media)] = operation["responses"][str(status)]["content"].items()
    assert answer["kind"].split(";")[0] == kind, (answer["kind"], what)
    body = json.loads(answer["body"]) if kind == "application/json" else answer["body"]
    for error in judge(media).iter_errors(body):
        raise SystemExit(f"{what}: {error.json_path}: {error.message}")
    if kind == "application/json" and path != "/v1/openapi.json":
        assert not judge(media).is_valid({**body, "unheard": 1}), f"{what}: anything is taken"
    if status < 300 and "requestBody" in operation:
        question = json.loads(answer["question"])
        judge(operation["requestBody"]["content"]["application/json"]).validate(question)
    seen.add((path, method.lower(), str(status)))

for path, item in document["paths"].items():
    for method in item.keys() & {"get", "put", "post", "delete"}:
        for status in item[method]["responses"]:
            if status[0] == "2" or status in ("400", "422"):
                assert (path, method, status) in seen, f"{method} {path} {status} was never seen"
print(len(answers))
