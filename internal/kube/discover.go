package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Cluster is what an installer has to know about a cluster.
type Cluster struct {
	// Version is the API server's, such as v1.37.2.
	Version string
	// Nodes is how many nodes are registered.
	Nodes int
	// APIServers are https://HOST:PORT addresses that need no Service.
	APIServers []string
	// DNSAddresses are where kubelets expect the cluster's DNS, one per family,
	// the primary family first; empty if the service range is unknown.
	DNSAddresses []netip.Addr
	// DNSService tells whether Service kube-system/kube-dns exists, and
	// DNSRelease which Helm release (NAMESPACE/NAME) it belongs to, if any.
	DNSService bool
	DNSRelease string
	// KubeProxy and CoreDNS tell whether these run in kube-system.
	KubeProxy, CoreDNS bool
	// MetalLB is NAMESPACE/NAME of a Deployment or DaemonSet of MetalLB's; empty if
	// there is none.
	MetalLB string
	// NamespaceLabels are those of the namespace asked about; nil if there is no
	// such namespace.
	NamespaceLabels map[string]string
	// Guesses are facts that could not be read but were concluded, in words.
	Guesses []string
}

// Discover reads what an installation into namespace depends on.
func (c *Client) Discover(ctx context.Context, namespace string) (Cluster, error) {
	var cluster Cluster
	version, err := c.clientset.Discovery().ServerVersion()
	if err != nil {
		return cluster, fmt.Errorf("the API server does not answer: %w; check --kubeconfig and --context", err)
	}
	cluster.Version = version.GitVersion
	nodes, err := c.clientset.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return cluster, fmt.Errorf("nodes cannot be listed: %w; installing needs cluster-admin", err)
	}
	cluster.Nodes = len(nodes.Items)
	ns, err := c.clientset.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if err == nil {
		cluster.NamespaceLabels = map[string]string{}
		for k, v := range ns.Labels {
			cluster.NamespaceLabels[k] = v
		}
	} else if !apierrors.IsNotFound(err) {
		return cluster, fmt.Errorf("namespace %s cannot be read: %w", namespace, err)
	}
	for _, read := range []func(context.Context, *Cluster) error{c.discoverServers, c.discoverDNS, c.discoverPeers} {
		if err := read(ctx, &cluster); err != nil {
			return cluster, err
		}
	}
	return cluster, nil
}

// discoverServers finds the API servers behind Service default/kubernetes: they
// register their own addresses there.
func (c *Client) discoverServers(ctx context.Context, cluster *Cluster) error {
	found, err := c.clientset.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=kubernetes",
	})
	if err != nil {
		return fmt.Errorf("the API servers' addresses cannot be read from EndpointSlice default/kubernetes: %w", err)
	}
	for _, slice := range found.Items {
		for _, port := range slice.Ports {
			if port.Port == nil || (port.Name != nil && *port.Name != "https") {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
					continue
				}
				for _, address := range endpoint.Addresses {
					ip, err := netip.ParseAddr(address)
					if err != nil {
						continue
					}
					cluster.APIServers = append(cluster.APIServers, "https://"+netip.AddrPortFrom(ip, uint16(*port.Port)).String())
				}
			}
		}
	}
	slices.Sort(cluster.APIServers)
	cluster.APIServers = slices.Compact(cluster.APIServers)
	if len(cluster.APIServers) == 0 && c.rest != nil {
		cluster.APIServers = []string{strings.TrimSuffix(c.rest.Host, "/")}
		cluster.Guesses = append(cluster.Guesses, fmt.Sprintf("EndpointSlice default/kubernetes names no API server: "+
			"pods will use %s, as you do; set config.apiServers if nodes cannot reach that", c.rest.Host))
	}
	return nil
}

// dnsIndex is the place of the cluster's DNS in the service range, and
// apiIndex that of Service default/kubernetes: kubeadm's
// GetDNSIP and the API server's first address.
const (
	dnsIndex = 10
	apiIndex = 1
)

// discoverDNS finds out where kubelets send queries: to the addresses of
// Service kube-dns where it exists, else to the tenth of each service range.
func (c *Client) discoverDNS(ctx context.Context, cluster *Cluster) error {
	service, err := c.clientset.CoreV1().Services(metav1.NamespaceSystem).Get(ctx, "kube-dns", metav1.GetOptions{})
	if err == nil {
		cluster.DNSService = true
		if release := service.Annotations["meta.helm.sh/release-name"]; release != "" {
			cluster.DNSRelease = service.Annotations["meta.helm.sh/release-namespace"] + "/" + release
		}
		for _, text := range service.Spec.ClusterIPs {
			if ip, err := netip.ParseAddr(text); err == nil {
				cluster.DNSAddresses = append(cluster.DNSAddresses, ip)
			}
		}
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("Service kube-system/kube-dns cannot be read: %w", err)
	}
	ranges, err := c.clientset.NetworkingV1().ServiceCIDRs().Get(ctx, "kubernetes", metav1.GetOptions{})
	if err == nil {
		for _, text := range ranges.Spec.CIDRs {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("ServiceCIDR kubernetes: %w", err)
			}
			cluster.DNSAddresses = append(cluster.DNSAddresses, advance(prefix.Masked().Addr(), dnsIndex))
		}
		return nil
	}
	return c.guessDNS(ctx, cluster, err)
}

// guessDNS concludes the cluster's DNS address from that of Service
// default/kubernetes, which is always the first of the primary service range.
func (c *Client) guessDNS(ctx context.Context, cluster *Cluster, why error) error {
	service, err := c.clientset.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("neither ServiceCIDR kubernetes nor Service default/kubernetes can be read: %w", errors.Join(why, err))
	}
	ip, err := netip.ParseAddr(service.Spec.ClusterIP)
	if err != nil {
		return fmt.Errorf("Service default/kubernetes has no address: %w", err)
	}
	dns := advance(ip, dnsIndex-apiIndex)
	cluster.DNSAddresses = []netip.Addr{dns}
	cluster.Guesses = append(cluster.Guesses, fmt.Sprintf("ServiceCIDR kubernetes cannot be read (%v): "+
		"the cluster's DNS gets %s, counted from Service default/kubernetes; if kubelets' clusterDNS says otherwise, or has a second family, set dns.clusterIPs", why, dns))
	return nil
}

// advance returns the address n after ip.
func advance(ip netip.Addr, n int) netip.Addr {
	for range n {
		ip = ip.Next()
	}
	return ip
}

// discoverPeers finds what Fairlead replaces.
func (c *Client) discoverPeers(ctx context.Context, cluster *Cluster) error {
	_, err := c.clientset.AppsV1().DaemonSets(metav1.NamespaceSystem).Get(ctx, "kube-proxy", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("DaemonSet kube-system/kube-proxy cannot be read: %w", err)
	}
	cluster.KubeProxy = err == nil
	_, err = c.clientset.AppsV1().Deployments(metav1.NamespaceSystem).Get(ctx, "coredns", metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("Deployment kube-system/coredns cannot be read: %w", err)
	}
	cluster.CoreDNS = err == nil
	return c.discoverMetalLB(ctx, cluster)
}

// discoverMetalLB looks for MetalLB by the labels of its manifests and of its
// Helm chart.
func (c *Client) discoverMetalLB(ctx context.Context, cluster *Cluster) error {
	for _, selector := range []string{"app=metallb", "app.kubernetes.io/name=metallb"} {
		options := metav1.ListOptions{LabelSelector: selector, Limit: 1}
		deployments, err := c.clientset.AppsV1().Deployments("").List(ctx, options)
		if err != nil {
			return fmt.Errorf("Deployments cannot be listed: %w", err)
		}
		daemons, err := c.clientset.AppsV1().DaemonSets("").List(ctx, options)
		if err != nil {
			return fmt.Errorf("DaemonSets cannot be listed: %w", err)
		}
		for _, o := range deployments.Items {
			cluster.MetalLB = o.Namespace + "/" + o.Name
		}
		for _, o := range daemons.Items {
			cluster.MetalLB = o.Namespace + "/" + o.Name
		}
	}
	return nil
}

// Workload names a DaemonSet or a Deployment.
type Workload struct {
	Kind, Namespace, Name string
}

// String returns Kind NAMESPACE/NAME.
func (w Workload) String() string { return w.Kind + " " + w.Namespace + "/" + w.Name }

// Rollout is how many pods of a workload's present version are wanted and ready.
type Rollout struct {
	Want, Ready int
	// Done means that all are ready and none of an older version is left.
	Done bool
}

// Rollout reads how far a workload has come.
func (c *Client) Rollout(ctx context.Context, w Workload) (Rollout, error) {
	if w.Kind == "Deployment" {
		d, err := c.clientset.AppsV1().Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return Rollout{}, fmt.Errorf("%s: %w", w, err)
		}
		want := 1
		if d.Spec.Replicas != nil {
			want = int(*d.Spec.Replicas)
		}
		s := d.Status
		ready := min(int(s.UpdatedReplicas), int(s.AvailableReplicas))
		return Rollout{Want: want, Ready: ready,
			Done: s.ObservedGeneration >= d.Generation && ready == want && int(s.Replicas) == want}, nil
	}
	d, err := c.clientset.AppsV1().DaemonSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if err != nil {
		return Rollout{}, fmt.Errorf("%s: %w", w, err)
	}
	return daemonRollout(d), nil
}

func daemonRollout(d *appsv1.DaemonSet) Rollout {
	s := d.Status
	if s.ObservedGeneration < d.Generation {
		return Rollout{Want: int(s.DesiredNumberScheduled)}
	}
	ready := min(int(s.UpdatedNumberScheduled), int(s.NumberReady))
	return Rollout{Want: int(s.DesiredNumberScheduled), Ready: ready, Done: ready == int(s.DesiredNumberScheduled)}
}

// PodProblem is why a pod is not ready.
type PodProblem struct {
	// Pod is NAMESPACE/NAME, or the workload itself if it could make no pod.
	Pod, Node string
	// Reason is Kubernetes' word for it, such as CrashLoopBackOff; Message tells
	// more, if there is more to tell.
	Reason, Message string
	// Log is the last line that the container wrote before it stopped, or "".
	Log string
}

// Problems tells for each pod of a workload that is not ready why it is not.
func (c *Client) Problems(ctx context.Context, w Workload) ([]PodProblem, error) {
	selector := labels.Set{
		"app.kubernetes.io/name":      "fairlead",
		"app.kubernetes.io/component": strings.TrimPrefix(w.Name, "fairlead-"),
	}
	pods, err := c.clientset.CoreV1().Pods(w.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("pods of %s: %w", w, err)
	}
	var problems []PodProblem
	for i := range pods.Items {
		if problem, bad := podProblem(&pods.Items[i]); bad {
			problem.Log = c.lastLine(ctx, &pods.Items[i])
			problems = append(problems, problem)
		}
	}
	if len(problems) == 0 {
		return c.refusals(ctx, w)
	}
	return problems, nil
}

// refusals reads from Events why a controller could not create pods.
func (c *Client) refusals(ctx context.Context, w Workload) ([]PodProblem, error) {
	events, err := c.clientset.CoreV1().Events(w.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
	if err != nil {
		return nil, fmt.Errorf("events of %s: %w", w, err)
	}
	for _, event := range slices.Backward(events.Items) {
		// A Deployment's pods are made by ReplicaSets that bear its name.
		if strings.HasPrefix(event.InvolvedObject.Name, w.Name) {
			return []PodProblem{{Pod: w.Namespace + "/" + w.Name, Reason: event.Reason, Message: event.Message}}, nil
		}
	}
	return nil, nil
}

func podProblem(pod *corev1.Pod) (PodProblem, bool) {
	problem := PodProblem{Pod: pod.Namespace + "/" + pod.Name, Node: pod.Spec.NodeName, Reason: string(pod.Status.Phase)}
	if pod.DeletionTimestamp != nil {
		problem.Reason = "Terminating"
		return problem, true
	}
	for _, condition := range pod.Status.Conditions {
		switch {
		case condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue:
			return PodProblem{}, false
		case condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse:
			problem.Reason, problem.Message = condition.Reason, condition.Message
			return problem, true
		}
	}
	for _, container := range pod.Status.ContainerStatuses {
		switch {
		case container.State.Waiting != nil:
			problem.Reason, problem.Message = container.State.Waiting.Reason, container.State.Waiting.Message
		case container.State.Running != nil:
			problem.Reason, problem.Message = "NotReady", "it runs, but its readiness check fails"
		}
		if last := container.LastTerminationState.Terminated; last != nil {
			problem.Message = "its last run ended with exit code " + strconv.Itoa(int(last.ExitCode))
		}
	}
	return problem, true
}

// lastLine returns the last line that a pod's container wrote: of its last run
// if it has stopped, else of the present one.
func (c *Client) lastLine(ctx context.Context, pod *corev1.Pod) string {
	for _, container := range pod.Status.ContainerStatuses {
		if container.State.Running == nil && container.LastTerminationState.Terminated == nil {
			continue
		}
		lines := int64(1)
		log, err := c.clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
			Container: container.Name, TailLines: &lines, Previous: container.State.Running == nil,
		}).DoRaw(ctx)
		if err == nil {
			return strings.TrimSpace(string(log))
		}
	}
	return ""
}
