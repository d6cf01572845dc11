// Package kube talks to the API server as its administrator: it waits for it,
// applies manifests, and writes kubeconfigs.
package kube

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// contextName is the name of the only cluster, user and context of a kubeconfig.
const contextName = "controlplane"

// Endpoint is an API server and the CA that vouches for it.
type Endpoint struct {
	// URL is such as https://10.0.1.5:6443.
	URL string
	// CAPEM is the CA's certificate.
	CAPEM []byte
}

// RESTConfig is for a client that shows a certificate.
func (e Endpoint) RESTConfig(certPEM, keyPEM []byte) *rest.Config {
	return &rest.Config{
		Host:            e.URL,
		TLSClientConfig: rest.TLSClientConfig{CAData: e.CAPEM, CertData: certPEM, KeyData: keyPEM},
		// What is applied at a start is a few dozen requests to a server of our own.
		QPS: -1,
	}
}

// WriteCertificateKubeconfig writes a kubeconfig of a user with a certificate.
func WriteCertificateKubeconfig(file string, e Endpoint, certPEM, keyPEM []byte) error {
	return write(file, e, "", &clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM})
}

// WriteTokenKubeconfig writes a kubeconfig of a user with a bearer token, whose
// default namespace is the given one.
func WriteTokenKubeconfig(file string, e Endpoint, namespace, token string) error {
	return write(file, e, namespace, &clientcmdapi.AuthInfo{Token: token})
}

func write(file string, e Endpoint, namespace string, user *clientcmdapi.AuthInfo) error {
	c := clientcmdapi.NewConfig()
	c.Clusters[contextName] = &clientcmdapi.Cluster{Server: e.URL, CertificateAuthorityData: e.CAPEM}
	c.AuthInfos[contextName] = user
	c.Contexts[contextName] = &clientcmdapi.Context{Cluster: contextName, AuthInfo: contextName, Namespace: namespace}
	c.CurrentContext = contextName
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", file, err)
	}
	return nil
}
