package install

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// workloads are what the chart runs; the first is the one on every node.
func workloads(namespace string) []kube.Workload {
	return []kube.Workload{
		{Kind: "DaemonSet", Namespace: namespace, Name: "fairlead-node"},
		{Kind: "DaemonSet", Namespace: "kube-system", Name: "fairlead-dns"},
		{Kind: "Deployment", Namespace: namespace, Name: "fairlead-controller"},
	}
}

// pollInterval is how often a rollout is read.
const pollInterval = time.Second

// wait returns when all pods of the workloads are ready, and prints each change
// of their numbers. After the timeout it fails and says which pods are not and
// why.
func (i *Installer) wait(ctx context.Context, wanted []kube.Workload, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready within %s", timeout))
	defer cancel()
	last := make([]string, len(wanted))
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		done := 0
		var unread error
		for n, workload := range wanted {
			rollout, err := i.cluster.Rollout(ctx, workload)
			if err != nil {
				unread = err // the API server may be back before the time is up
				continue
			}
			if rollout.Done {
				done++
			}
			if text := fmt.Sprintf("%s %d/%d ready", workload.Name, rollout.Ready, rollout.Want); text != last[n] {
				i.progress.step("%s", text)
				last[n] = text
			}
		}
		if done == len(wanted) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return i.diagnose(context.WithoutCancel(ctx), wanted, context.Cause(ctx), unread)
		}
	}
}

// diagnose makes an error that says for every pod that is not ready why.
func (i *Installer) diagnose(ctx context.Context, wanted []kube.Workload, cause, unread error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var text strings.Builder
	for _, workload := range wanted {
		rollout, err := i.cluster.Rollout(ctx, workload)
		if err == nil && rollout.Done {
			continue
		}
		problems, err := i.cluster.Problems(ctx, workload)
		if err != nil {
			unread = err
		}
		if len(problems) == 0 {
			fmt.Fprintf(&text, "\n  %s: %d of %d pods ready", workload, rollout.Ready, rollout.Want)
		}
		for _, problem := range problems {
			describe(&text, problem)
		}
	}
	if unread != nil {
		fmt.Fprintf(&text, "\n  %v", unread)
	}
	return fmt.Errorf("%w:%s", cause, text.String())
}

func describe(text *strings.Builder, p kube.PodProblem) {
	fmt.Fprintf(text, "\n  pod %s", p.Pod)
	if p.Node != "" {
		fmt.Fprintf(text, " on node %s", p.Node)
	}
	fmt.Fprintf(text, ": %s", p.Reason)
	if p.Message != "" {
		fmt.Fprintf(text, ": %s", p.Message)
	}
	if p.Log != "" {
		fmt.Fprintf(text, "\n    its last line: %s", p.Log)
	}
	fmt.Fprintf(text, "\n    next: %s", advice(p))
}

// advice says what to do about a pod that is not ready.
func advice(p kube.PodProblem) string {
	namespace, name, _ := strings.Cut(p.Pod, "/")
	switch p.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName":
		return "check --set image.repository, image.tag and image.pullSecrets, or load the image on the node"
	case "CrashLoopBackOff", "Error", "RunContainerError":
		return fmt.Sprintf("kubectl -n %s logs %s --previous", namespace, name)
	case "NotReady":
		return fmt.Sprintf("kubectl -n %s logs %s", namespace, name)
	case "FailedCreate":
		return "allow what the message names; the node pods need namespace label pod-security.kubernetes.io/enforce=privileged"
	case "Unschedulable":
		return "make room on the node, or lower the pod's resources with --set"
	case "Terminating":
		return "it is being replaced; if that takes long its node may be down: kubectl get nodes"
	}
	return fmt.Sprintf("kubectl -n %s describe pod %s", namespace, name)
}
