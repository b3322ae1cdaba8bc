# Parses a scrape by the rules of OpenMetrics and prints its samples by name, as JSON.
import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

samples = {}
for family in text_string_to_metric_families(sys.argv[1]):
    assert family.documentation, family.name
    assert not family.unit or family.name.endswith("_" + family.unit), family.name
    for sample in family.samples:
        samples.setdefault(sample.name, []).append({"labels": sample.labels, "value": sample.value})
print(json.dumps(samples))
