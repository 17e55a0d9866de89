module aigateway.dev/e2e/cluster/ctl

go 1.26.0
