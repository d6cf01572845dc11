package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	kubeSystem = "kube-system"
	agentName  = "cilium-agent" // of the container
)

// DeleteVTEPConfigDefinition makes the cluster one with a Cilium that has no CiliumVTEPConfig.
func (c *Cluster) DeleteVTEPConfigDefinition(ctx context.Context) error {
	name := CiliumVTEPConfigs.GroupResource().String()
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	if err := c.Nodes.Resource(crds).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete CustomResourceDefinition %s: %w", name, err)
	}
	return nil
}

// SetCiliumConfig is what an operator does with Cilium's Helm chart: it makes the ConfigMap
// that agents read when they start.
func (c *Cluster) SetCiliumConfig(ctx context.Context, name string, data map[string]string) error {
	_, err := c.Clients.CoreV1().ConfigMaps(kubeSystem).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create ConfigMap %s/%s: %w", kubeSystem, name, err)
	}
	return nil
}

// CreateAgentPod shows the pod of a node's Cilium agent, which has started now.
func (c *Cluster) CreateAgentPod(ctx context.Context, node string) error {
	pods := c.Clients.CoreV1().Pods(kubeSystem)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: agentPod(node), Labels: map[string]string{"k8s-app": "cilium"}},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: agentName, Image: "cilium"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the pod of Cilium's agent on %s: %w", node, err)
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: agentName, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(time.Now())}},
	}}
	if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("say that Cilium's agent on %s runs: %w", node, err)
	}
	return nil
}

// DeleteAgentPod undoes CreateAgentPod; one that is absent is fine.
func (c *Cluster) DeleteAgentPod(ctx context.Context, node string) error {
	now := int64(0) // no kubelet is there that would end it
	err := c.Clients.CoreV1().Pods(kubeSystem).Delete(ctx, agentPod(node), metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the pod of Cilium's agent on %s: %w", node, err)
	}
	return nil
}

func agentPod(node string) string { return "cilium-" + node }
