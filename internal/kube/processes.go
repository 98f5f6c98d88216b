package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	// Status is what the process serves at /status; empty if it serves nothing.
	Status []byte
	// Problem says why Status is empty.
	Problem string
}

// Processes asks every Fairlead process in the cluster for its status, through
// the API server, so that no port need be reachable from here.
func (c *Client) Processes(ctx context.Context) ([]Process, error) {
	pods, err := c.clientset.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: processSelector})
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
			all[i] = c.process(ctx, &pods.Items[i])
		})
	}
	asking.Wait()
	slices.SortFunc(all, func(a, b Process) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod, b.Pod))
	})
	return all, nil
}

func (c *Client) process(ctx context.Context, pod *corev1.Pod) Process {
	p := Process{Namespace: pod.Namespace, Pod: pod.Name, Component: pod.Labels[componentLabel], Node: pod.Spec.NodeName}
	if p.Problem = notRunning(pod); p.Problem != "" {
		return p
	}
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
	body, err := c.clientset.CoreV1().RESTClient().Get().Namespace(pod.Namespace).Resource("pods").
		Name(pod.Name + ":" + port).SubResource("proxy").Suffix("status").DoRaw(ctx)
	if err != nil {
		p.Problem = fmt.Sprintf("does not answer: %v; see: kubectl -n %s logs %s", err, pod.Namespace, pod.Name)
		return p
	}
	p.Status = body
	return p
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
