package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// api is the little of a Kubernetes client that this program needs: JSON over HTTPS with a client certificate.
type api struct {
	base   string
	client *http.Client
}

const (
	callTimeout     = 10 * time.Second
	maxResponseSize = 64 << 20
)

type object = map[string]any

// statusError is a refusal by the API server.
type statusError struct {
	code    int
	message string
}

func (e statusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.code, e.message) }

func hasStatus(err error, code int) bool {
	var status statusError
	return errors.As(err, &status) && status.code == code
}

// newAPI uses the certificate of one of identities().
func newAPI(s Settings, identity string) (*api, error) {
	cert, err := tls.LoadX509KeyPair(s.pki(identity+".crt"), s.pki(identity+".key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.pki(clusterCA + ".crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &api{base: s.apiURL(), client: &http.Client{Transport: &http.Transport{
		// No proxy: the environment's is for the world outside.
		Proxy:             nil,
		TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots},
		ForceAttemptHTTP2: true,
	}}}, nil
}

func (a *api) call(method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxResponseSize))
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		var status struct{ Message string }
		_ = json.Unmarshal(data, &status)
		return fmt.Errorf("%s %s: %w", method, path, statusError{response.StatusCode, status.Message})
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

// create makes an object unless it is there already.
func (a *api) create(path string, body object) error {
	if err := a.call("POST", path, body, nil); err != nil && !hasStatus(err, http.StatusConflict) {
		return err
	}
	return nil
}

// ready is the API server's own opinion.
func (a *api) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", a.base+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := a.client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// waitForChange returns when an object of the collection changes after resourceVersion, or after the
// timeout. What changed is for the caller to list.
func (a *api) waitForChange(ctx context.Context, path, resourceVersion string, timeout time.Duration) error {
	url := fmt.Sprintf("%s%s?watch=1&resourceVersion=%s&timeoutSeconds=%d", a.base, path, resourceVersion, int(timeout.Seconds()))
	ctx, cancel := context.WithTimeout(ctx, timeout+callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("watch %s: %w", path, statusError{response.StatusCode, ""})
	}
	var event json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&event); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// applyBaseObjects makes what an installer of Kubernetes makes: the DNS server's role, and a default StorageClass.
func applyBaseObjects(a *api) error {
	const rbac = "/apis/rbac.authorization.k8s.io/v1"
	binding := func(name, role, user string) object {
		return object{
			"metadata": object{"name": name},
			"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
			"subjects": []object{{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}},
		}
	}
	for _, item := range []struct {
		path string
		body object
	}{
		{rbac + "/clusterroles", object{
			"metadata": object{"name": "system:coredns"},
			"rules": []object{
				{"apiGroups": []string{""}, "resources": []string{"services", "pods", "namespaces"}, "verbs": []string{"list", "watch"}},
				{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": []string{"list", "watch"}},
			},
		}},
		{rbac + "/clusterrolebindings", binding("system:coredns", "system:coredns", corednsUser)},
		{rbac + "/clusterrolebindings", binding("local-storage", "system:persistent-volume-provisioner", storageUser)},
		{"/apis/storage.k8s.io/v1/storageclasses", object{
			"metadata": object{
				"name":        storageClass,
				"annotations": object{"storageclass.kubernetes.io/is-default-class": "true"},
			},
			"provisioner":       provisioner,
			"reclaimPolicy":     "Delete",
			"volumeBindingMode": "Immediate",
		}},
	} {
		if err := a.create(item.path, item.body); err != nil {
			return err
		}
	}
	return nil
}
