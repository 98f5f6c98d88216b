// Package kubeproxy removes what kube-proxy left on a node.
//
// In goes the state of the node's kernel; out comes a Leftovers that says in
// words what can go, what stays and why, and what a person has to do; Remove
// removes the first. It knows kube-proxy's rules by the names in its source
// (pkg/proxy of Kubernetes 1.37, and names of earlier releases). It never touches
// what the kubelet, a CNI plugin or anybody else made, changes no sysctl and
// makes conntrack forget nothing: connections that kube-proxy translated go on.
package kubeproxy
