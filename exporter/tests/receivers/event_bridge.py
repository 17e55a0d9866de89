"""What the owner of an event bus does, by AWS's own library. Reads a request from stdin and prints the answer as JSON.

prepare: a bus, a rule that passes everything of our source to a queue, an IAM user who may put events there, and then
the check of signatures and permissions. read: takes what is in the queue.
"""

import json
import sys
import urllib.request

import boto3

ACCOUNT = "123456789012"
REGION = "eu-central-1"


def clients(endpoint, keys):
    def client(service):
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id=keys["id"],
            aws_secret_access_key=keys["secret"],
        )

    return client


def prepare(endpoint):
    client = clients(endpoint, {"id": "testing", "secret": "testing"})
    queue = client("sqs").create_queue(QueueName="audit")["QueueUrl"]
    events = client("events")
    events.create_event_bus(Name="security")
    pattern = json.dumps({"source": ["ai-gateway"]})
    events.put_rule(Name="audit", EventBusName="security", EventPattern=pattern)
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:audit"}
    events.put_targets(Rule="audit", EventBusName="security", Targets=[target])

    def user(name, actions):
        iam = client("iam")
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}

    answer = {
        "queue": queue,
        "exporter": user("exporter", ["events:PutEvents"]),
        "stranger": user("stranger", ["s3:GetObject"]),
        "owner": user("owner", ["*"]),
    }
    # From now on, every request is checked.
    reset = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", data=b"0", headers={"content-type": "text/plain"}
    )
    urllib.request.urlopen(reset, timeout=30).read()
    return answer


def read(endpoint, queue, keys):
    sqs = clients(endpoint, keys)("sqs")
    found = []
    while True:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        if not messages:
            return found
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


request = json.load(sys.stdin)
action = {"prepare": prepare, "read": read}[request.pop("do")]
json.dump(action(**request), sys.stdout)
