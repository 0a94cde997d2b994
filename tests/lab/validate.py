"""Validates what `vipd status` writes for programs: validate.py SCHEMA {json|metrics} <TEXT"""
import json
import sys

text = sys.stdin.buffer.read().decode("utf-8")
if sys.argv[2] == "json":
    import jsonschema

    assert text.count("\n") == 1 and text.endswith("\n"), "not one line"

    def unique(pairs):
        keys = [k for k, _ in pairs]
        assert len(keys) == len(set(keys)), f"a key twice: {keys}"
        return dict(pairs)

    schema = json.load(open(sys.argv[1]))
    jsonschema.Draft202012Validator.check_schema(schema)
    value = json.loads(text, object_pairs_hook=unique)
    errors = [f"{list(e.absolute_path)}: {e.message}" for e in jsonschema.Draft202012Validator(schema).iter_errors(value)]
    assert not errors, errors
else:
    from prometheus_client.parser import text_string_to_metric_families

    names, samples = set(), set()
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("vipd_"), family.name
        # A family whose samples are scattered comes twice, and one without a TYPE is "unknown".
        assert family.name not in names, f"{family.name} twice"
        assert family.documentation and family.type in ("gauge", "counter"), family
        names.add(family.name)
        assert family.samples, f"{family.name} has no samples"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples, f"{key} twice"
            samples.add(key)
            assert sample.name.endswith("_total") == (family.type == "counter"), sample
    assert {"vipd_build_info", "vipd_status", "vipd_vrrp_state"} <= names, names
