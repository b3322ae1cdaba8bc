"""azure_sas.py: a shared access signature of Azurite's account, for an hour."""
from datetime import datetime, timedelta, timezone

from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
print(generate_account_sas(
    "devstoreaccount1", KEY, ResourceTypes(container=True, object=True),
    AccountSasPermissions(read=True, write=True, add=True, create=True, list=True),
    datetime.now(timezone.utc) + timedelta(hours=1)))
