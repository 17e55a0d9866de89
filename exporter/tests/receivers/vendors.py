"""What the vendors' own libraries make of the same events. Reads a request from stdin, prints the answer as JSON."""

import json
import sys
import time

from azure.core.credentials import AccessToken
from azure.identity import ClientAssertionCredential, ClientSecretCredential
from azure.monitor.ingestion import LogsIngestionClient
from datadog_api_client.exceptions import ApiTypeError, ApiValueError
from datadog_api_client.v2.model.http_log_item import HTTPLogItem


def datadog(entries):
    """Each entry as Datadog's model reads it, or what the model says against it."""
    read = []
    for entry in entries:
        try:
            read.append(HTTPLogItem(**entry).to_dict())
        except (ApiTypeError, ApiValueError, TypeError) as error:
            read.append({"refused": type(error).__name__})
    return read


def sentinel(endpoint, ca, token, rule, stream, rows):
    """Sends rows as Microsoft's client does."""

    class Credential:
        def get_token(self, *scopes, **_):
            self.scopes = scopes
            return AccessToken(token, int(time.time()) + 3600)

    credential = Credential()
    client = LogsIngestionClient(endpoint, credential, connection_verify=ca, retry_total=0)
    client.upload(rule_id=rule, stream_name=stream, logs=rows)
    return {"scopes": list(credential.scopes)}


def entra(authority, ca, tenant, client, proof, identity, scope):
    """Asks for a token as Microsoft's library does."""
    settings = {"authority": authority, "connection_verify": ca, "disable_instance_discovery": True, "retry_total": 0}
    if identity == "ClientSecret":
        credential = ClientSecretCredential(tenant, client, proof, **settings)
    else:
        credential = ClientAssertionCredential(tenant, client, lambda: proof, **settings)
    return {"token": credential.get_token(scope).token}


request = json.load(sys.stdin)
action = {"datadog": datadog, "entra": entra, "sentinel": sentinel}[request.pop("do")]
json.dump(action(**request), sys.stdout)
