"""delete_blob.py ENDPOINT CONTAINER NAME: deletes a blob in Azurite, by the official client."""
import sys

from azure.storage.blob import BlobServiceClient

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
endpoint, container, name = sys.argv[1:]
BlobServiceClient(endpoint, credential=KEY).get_container_client(container).delete_blob(name)
