"""azure_container.py create|delete NAME: a container in Azurite, by the official client."""
import os
import sys

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
service = BlobServiceClient(os.environ["SILT_TEST_AZURITE"], credential=KEY)
container = service.get_container_client(sys.argv[2])
if sys.argv[1] == "delete":
    container.delete_container()
else:
    try:
        container.create_container()
    except ResourceExistsError:
        pass
