package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

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

// readTimeout is how long one reading of the API server may take.
const readTimeout = 10 * time.Second

// wait returns when all pods of the workloads are ready, and prints each change
// of their numbers. After the timeout it fails and says which pods are not and
// why.
func (i *Installer) wait(ctx context.Context, wanted []kube.Workload, timeout time.Duration) error {
	last := make(map[kube.Workload]string)
	ready := func(w kube.Workload, rollout kube.Rollout, err error) bool {
		if err != nil || rollout.Want == 0 && !rollout.Done {
			return false // the API server, or the controller, may be back before the time is up
		}
		if text := fmt.Sprintf("%s %d/%d ready", w.Name, rollout.Ready, rollout.Want); text != last[w] {
			i.progress.step("%s", text)
			last[w] = text
		}
		return rollout.Done
	}
	if !i.poll(ctx, wanted, timeout, ready) {
		return i.diagnose(ctx, wanted, fmt.Errorf("not ready within %s", timeout))
	}
	return nil
}

// waitGone returns when the workloads and, as they are deleted last, their pods
// are gone.
func (i *Installer) waitGone(ctx context.Context, wanted []kube.Workload, timeout time.Duration) error {
	gone := func(_ kube.Workload, _ kube.Rollout, err error) bool { return apierrors.IsNotFound(err) }
	if !i.poll(ctx, wanted, timeout, gone) {
		return i.diagnose(ctx, wanted, fmt.Errorf("not gone within %s", timeout))
	}
	return nil
}

// poll reads the workloads until each has been as wanted in one round, and
// tells whether that came to pass before the timeout and the end of ctx.
func (i *Installer) poll(ctx context.Context, workloads []kube.Workload, timeout time.Duration, asWanted func(kube.Workload, kube.Rollout, error) bool) bool {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		all := true
		for _, w := range workloads {
			reading, cancel := context.WithTimeout(ctx, readTimeout)
			rollout, err := i.cluster.Rollout(reading, w)
			cancel()
			all = asWanted(w, rollout, err) && all
		}
		if all {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// diagnose makes an error that says for every pod that is left, or not ready,
// why. An interruption by the user needs no diagnosis.
func (i *Installer) diagnose(ctx context.Context, workloads []kube.Workload, cause error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not waited for: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var text strings.Builder
	for _, w := range workloads {
		rollout, err := i.cluster.Rollout(ctx, w)
		if apierrors.IsNotFound(err) || err == nil && rollout.Done {
			continue
		}
		problems, problemsErr := i.cluster.Problems(ctx, w)
		if err := errors.Join(err, problemsErr); err != nil {
			fmt.Fprintf(&text, "\n  %s cannot be read: %v", w, err)
		} else if len(problems) == 0 {
			fmt.Fprintf(&text, "\n  %s: %d of %d pods ready; next: kubectl -n %s describe %s %s", w, rollout.Ready, rollout.Want, w.Namespace, strings.ToLower(w.Kind), w.Name)
		}
		for _, problem := range problems {
			describe(&text, problem)
		}
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
