package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// Three authorities, as kubeadm has them: a certificate for one of them opens no other door.
const (
	clusterCA    = "ca"
	etcdCA       = "etcd-ca"
	frontProxyCA = "front-proxy-ca"
)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

type identity struct {
	file, ca string
	cn       string
	groups   []string
	server   bool
	client   bool
	names    []string
	ips      []string
}

func (s Settings) identities() []identity {
	return []identity{
		{file: "etcd", ca: etcdCA, cn: "etcd", server: true, client: true, names: []string{"localhost"}, ips: []string{"127.0.0.1"}},
		{file: "apiserver-etcd-client", ca: etcdCA, cn: "kube-apiserver", client: true},
		{file: "front-proxy-client", ca: frontProxyCA, cn: "front-proxy-client", client: true},
		{file: "apiserver", ca: clusterCA, cn: "kube-apiserver", server: true,
			names: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterDomain},
			ips:   []string{"127.0.0.1", s.nodeIP(), s.apiServiceIP()}},
		{file: "apiserver-kubelet-client", ca: clusterCA, cn: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}, client: true},
		{file: "kubelet-server", ca: clusterCA, cn: "system:node:" + s.Name, groups: []string{"system:nodes"}, server: true,
			names: []string{s.Name}, ips: []string{s.nodeIP()}},
		{file: "admin", ca: clusterCA, cn: "cluster-admin", groups: []string{"system:masters"}, client: true},
		{file: "kubelet", ca: clusterCA, cn: "system:node:" + s.Name, groups: []string{"system:nodes"}, client: true},
		{file: "kube-controller-manager", ca: clusterCA, cn: "system:kube-controller-manager", client: true},
		{file: "kube-scheduler", ca: clusterCA, cn: "system:kube-scheduler", client: true},
		{file: "kube-proxy", ca: clusterCA, cn: "system:kube-proxy", client: true},
		{file: "coredns", ca: clusterCA, cn: corednsUser, client: true},
		{file: "storage", ca: clusterCA, cn: storageUser, client: true},
	}
}

// withKubeconfig are the identities that speak to the API server by a kubeconfig.
var withKubeconfig = []string{"admin", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"}

func (s Settings) writePKI() error {
	if err := os.MkdirAll(s.path("pki"), 0o700); err != nil {
		return err
	}
	authorities := map[string]authority{}
	for _, name := range []string{clusterCA, etcdCA, frontProxyCA} {
		key, err := s.newKey(name)
		if err != nil {
			return err
		}
		template := certificate(pkix.Name{CommonName: name})
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
		cert, err := s.sign(name, template, template, key, key)
		if err != nil {
			return err
		}
		authorities[name] = authority{cert, key}
	}
	for _, id := range s.identities() {
		key, err := s.newKey(id.file)
		if err != nil {
			return err
		}
		template := certificate(pkix.Name{CommonName: id.cn, Organization: id.groups})
		template.KeyUsage = x509.KeyUsageDigitalSignature
		if id.server {
			template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		}
		if id.client {
			template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		}
		template.DNSNames = id.names
		for _, ip := range id.ips {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
		}
		ca := authorities[id.ca]
		if _, err := s.sign(id.file, template, ca.cert, key, ca.key); err != nil {
			return err
		}
	}

	key, err := s.newKey("service-account")
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := writePEM(s.pki("service-account.pub"), "PUBLIC KEY", public); err != nil {
		return err
	}
	for _, name := range withKubeconfig {
		if err := s.writeKubeconfig(name); err != nil {
			return err
		}
	}
	return os.Rename(s.conf("admin.kubeconfig"), s.kubeconfig())
}

func certificate(subject pkix.Name) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
	}
}

func (s Settings) newKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(s.pki(name+".key"), "EC PRIVATE KEY", der)
}

func (s Settings) sign(name string, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	if err := writePEM(s.pki(name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func (s Settings) writeKubeconfig(name string) error {
	embed := func(file string) (string, error) {
		data, err := os.ReadFile(s.pki(file))
		return base64.StdEncoding.EncodeToString(data), err
	}
	ca, err1 := embed(clusterCA + ".crt")
	cert, err2 := embed(name + ".crt")
	key, err3 := embed(name + ".key")
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	context := "ai-gateway-" + s.Name
	return os.WriteFile(s.conf(name+".kubeconfig"), fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[4]s
  user:
    client-certificate-data: %[5]s
    client-key-data: %[6]s
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[4]s}
current-context: %[1]s
`, context, s.apiURL(), ca, name, cert, key), 0o600)
}
