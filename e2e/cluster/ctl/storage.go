package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	storageUser  = "system:local-storage"
	storageClass = "local"
	provisioner  = "aigateway.dev/local-storage"

	claimsPath  = "/api/v1/persistentvolumeclaims"
	volumesPath = "/api/v1/persistentvolumes"

	provisionerAnnotation = "pv.kubernetes.io/provisioned-by"
)

type metadata struct {
	Name, Namespace, UID string
	ResourceVersion      string            `json:"resourceVersion"`
	DeletionTimestamp    string            `json:"deletionTimestamp"`
	Annotations          map[string]string `json:"annotations"`
}

type claimList struct {
	Metadata metadata
	Items    []struct {
		Metadata metadata
		Spec     struct {
			StorageClassName string   `json:"storageClassName"`
			VolumeName       string   `json:"volumeName"`
			AccessModes      []string `json:"accessModes"`
			VolumeMode       string   `json:"volumeMode"`
			Resources        struct{ Requests map[string]string }
		}
		Status struct{ Phase string }
	}
}

type volumeList struct {
	Metadata metadata
	Items    []struct {
		Metadata metadata
		Status   struct{ Phase string }
	}
}

// runStorage gives every claim of the default StorageClass a folder of its own, and deletes the
// folder with the volume. It is the cluster's only storage and plays by the rules of an external provisioner.
func runStorage(dir string) error {
	s, err := readSettings(dir)
	if err != nil {
		return err
	}
	a, err := newAPI(s, "storage")
	if err != nil {
		return err
	}
	for {
		claims, volumes, err := a.storageRound(s)
		if err == nil {
			err = a.waitForEither(claims, volumes)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s %v\n", time.Now().UTC().Format(time.RFC3339), err)
			// The API server is away or refuses: ask again at a rate that harms nobody.
			time.Sleep(time.Second)
		}
	}
}

// waitForEither returns at the first change of a claim or a volume.
func (a *api) waitForEither(claims, volumes string) error {
	const quiet = 5 * time.Minute
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results := make(chan error, 2)
	go func() { results <- a.waitForChange(ctx, claimsPath, claims, quiet) }()
	go func() { results <- a.waitForChange(ctx, volumesPath, volumes, quiet) }()
	err := <-results
	cancel()
	<-results
	return err
}

// storageRound brings volumes in line with claims, and returns the versions of the lists it went by.
func (a *api) storageRound(s Settings) (claimsVersion, volumesVersion string, err error) {
	var claims claimList
	var volumes volumeList
	if err := a.call("GET", claimsPath, nil, &claims); err != nil {
		return "", "", err
	}
	if err := a.call("GET", volumesPath, nil, &volumes); err != nil {
		return "", "", err
	}
	existing := map[string]bool{}
	for _, v := range volumes.Items {
		existing[v.Metadata.Name] = true
		if v.Metadata.Annotations[provisionerAnnotation] == provisioner && v.Status.Phase == "Released" && v.Metadata.DeletionTimestamp == "" {
			if err := os.RemoveAll(volumeDir(s, v.Metadata.Name)); err != nil {
				return "", "", err
			}
			if err := a.call("DELETE", volumesPath+"/"+v.Metadata.Name, nil, nil); err != nil && !hasStatus(err, http.StatusNotFound) {
				return "", "", err
			}
		}
	}
	for _, c := range claims.Items {
		name := "pvc-" + c.Metadata.UID
		if c.Spec.StorageClassName != storageClass || c.Spec.VolumeName != "" || c.Spec.VolumeMode == "Block" ||
			c.Metadata.DeletionTimestamp != "" || existing[name] {
			continue
		}
		dir := volumeDir(s, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", "", err
		}
		// Kubernetes sets no owner on hostPath volumes, whatever fsGroup says.
		if err := os.Chmod(dir, 0o777); err != nil {
			return "", "", err
		}
		err := a.create(volumesPath, object{
			"metadata": object{"name": name, "annotations": object{provisionerAnnotation: provisioner}},
			"spec": object{
				"capacity":                      object{"storage": c.Spec.Resources.Requests["storage"]},
				"accessModes":                   c.Spec.AccessModes,
				"persistentVolumeReclaimPolicy": "Delete",
				"storageClassName":              storageClass,
				"hostPath":                      object{"path": dir, "type": "Directory"},
				"claimRef": object{
					"apiVersion": "v1", "kind": "PersistentVolumeClaim",
					"namespace": c.Metadata.Namespace, "name": c.Metadata.Name, "uid": c.Metadata.UID,
				},
			},
		})
		if err != nil {
			return "", "", err
		}
	}
	return claims.Metadata.ResourceVersion, volumes.Metadata.ResourceVersion, nil
}

func volumeDir(s Settings, name string) string { return filepath.Join(s.path("volumes"), name) }
