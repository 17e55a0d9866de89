// Command coredns is CoreDNS with only the plugins that the local cluster's Corefile uses. The full
// program builds four times slower and brings every cloud provider's SDK with it.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() {
	// The order of the plugins in a server's chain, the same as in the full program.
	dnsserver.Directives = []string{
		"bind", "ready", "errors", "cache", "loadbalance", "hosts", "kubernetes", "forward",
	}
	coremain.Run()
}
