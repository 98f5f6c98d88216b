package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The labels by which the chart marks Fairlead's pods.
const (
	processSelector = "app.kubernetes.io/name=fairlead"
	componentLabel  = "app.kubernetes.io/component"
)

// Process is one pod of Fairlead and what it tells about itself.
type Process struct {
	Namespace string
	Pod       string
	Component string
	Node      string
	// Answer is what the process serves at the path asked for; empty if it serves nothing.
	Answer []byte
	// Problem says why Answer is empty.
	Problem string
}

// Processes asks every Fairlead process in the cluster for its status, through
// the API server, so that no port need be reachable from here.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	return c.askAll(ctx, processSelector, "status")
}

// AskComponent asks every Fairlead process of one component, such as dns, for a path
// of what it serves over HTTP.
func (c *Client) AskComponent(ctx context.Context, component, path string) ([]Process, error) {
	return c.askAll(ctx, processSelector+","+componentLabel+"="+component, path)
}

func (c *Client) askAll(ctx context.Context, selector, path string) ([]Process, error) {
	pods, err := c.clientset.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list Fairlead's pods: %w", err)
	}
	all := make([]Process, len(pods.Items))
	var asking sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range pods.Items {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i] = c.process(ctx, &pods.Items[i], path)
		})
	}
	asking.Wait()
	slices.SortFunc(all, func(a, b Process) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod, b.Pod))
	})
	return all, nil
}

func (c *Client) process(ctx context.Context, pod *corev1.Pod, path string) Process {
	p := Process{Namespace: pod.Namespace, Pod: pod.Name, Component: pod.Labels[componentLabel], Node: pod.Spec.NodeName}
	if p.Problem = notRunning(pod); p.Problem != "" {
		return p
	}
	body, err := c.ask(ctx, pod, path, nil)
	if err != nil {
		p.Problem = fmt.Sprintf("does not answer: %v; see: kubectl -n %s logs %s", err, pod.Namespace, pod.Name)
		return p
	}
	p.Answer = body
	return p
}

// ask gets a path of what a pod serves over HTTP.
func (c *Client) ask(ctx context.Context, pod *corev1.Pod, path string, query map[string]string) ([]byte, error) {
	port := ""
	for _, container := range pod.Spec.Containers {
		for _, candidate := range container.Ports {
			// The port that serves /metrics serves /status too.
			if candidate.Name == "http" || candidate.Name == "metrics" {
				port = fmt.Sprint(candidate.ContainerPort)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request := c.clientset.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
		Name(pod.Name + ":" + port).SubResource("proxy").Suffix(path)
	for name, value := range query {
		request.Param(name, value)
	}
	return request.DoRaw(ctx)
}

// AskNode gets a path of what Fairlead's process on a node serves over HTTP,
// through the API server. The error has what the process says against it.
func (c *Client) AskNode(ctx context.Context, node, path string, query map[string]string) ([]byte, error) {
	pods, err := c.clientset.CoreV1().Pods("").List(ctx, metav1.ListOptions{
		LabelSelector: processSelector + "," + componentLabel + "=node", FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		return nil, fmt.Errorf("list Fairlead's pods: %w", err)
	}
	problem := "there is none; 'fairlead status' lists all"
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Labels[componentLabel] != "node" || pod.Spec.NodeName != node {
			continue
		}
		if problem = notRunning(pod); problem != "" {
			continue
		}
		body, err := c.ask(ctx, pod, path, query)
		// What the API server itself says against it is in JSON, and in err.
		if said := strings.TrimSpace(string(body)); err != nil && said != "" && said[0] != '{' {
			return nil, fmt.Errorf("Fairlead's process on node %s answers: %.300s", node, said)
		}
		if err != nil {
			return nil, fmt.Errorf("ask Fairlead's process on node %s: %w", node, err)
		}
		return body, nil
	}
	return nil, fmt.Errorf("Fairlead's process on node %s cannot be asked: %s", node, problem)
}

// ConfigFile returns the text of the cluster's fairlead.yaml, and whether there
// is one. The chart keeps a copy in kube-system, whatever the release's namespace.
func (c *Client) ConfigFile(ctx context.Context) (text string, found bool, err error) {
	o, err := c.clientset.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "fairlead", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("get ConfigMap kube-system/fairlead: %w", err)
	}
	text, found = o.Data["fairlead.yaml"]
	return text, found, nil
}

// notRunning says why no container of the pod runs, or "".
func notRunning(pod *corev1.Pod) string {
	if pod.Status.Phase == corev1.PodPending && len(pod.Status.ContainerStatuses) == 0 {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status != corev1.ConditionTrue {
				return "not scheduled: " + condition.Message
			}
		}
		return "waits to be started"
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Running != nil {
			continue
		}
		reason := "not running"
		if waiting := status.State.Waiting; waiting != nil {
			reason = waiting.Reason
		}
		if last := status.LastTerminationState.Terminated; last != nil && last.Message != "" {
			return reason + ": " + last.Message
		}
		if ended := status.State.Terminated; ended != nil && ended.Message != "" {
			return reason + ": " + ended.Message
		}
		return reason
	}
	return ""
}
