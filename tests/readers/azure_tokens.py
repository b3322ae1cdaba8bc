"""azure_tokens.py ENDPOINT CONTAINER COLLECTION: the tokens of a collection, by the official client."""
import gzip
import json
import sys

from azure.storage.blob import BlobServiceClient

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
endpoint, container, collection = sys.argv[1:4]
client = BlobServiceClient(endpoint, credential=KEY).get_container_client(container)
for name in sorted(client.list_blob_names(name_starts_with=collection + "/")):
    data = client.download_blob(name).readall()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    if ".ndjson" in name:
        changes = [json.loads(line) for line in text.splitlines()]
    else:
        changes = json.loads(text)["changes"]
    for change in changes:
        print(change["change"]["_id"]["_data"])
