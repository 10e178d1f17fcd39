#!/bin/sh
# Makes the table as a cloud does; LocalStack runs this once it is up.
set -eu
awslocal cloudformation deploy --stack-name simurgh-data --template-file /infra/data.yaml \
    --parameter-overrides DeletionProtection=false --no-fail-on-empty-changeset
