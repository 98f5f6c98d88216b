package l7

import "strings"

// node is one of a radix tree over the octets of paths. What a tree costs to search
// is the length of the path, however many rules there are.
type node struct {
	// text lies between the parent and this node; depth is the length of all up to
	// here.
	text     string
	depth    int
	parent   *node
	first    string // the first octets of the children's texts
	children []*node
	// rules of each kind that compares paths, in the order of precedence.
	rules [fallback][]rule
}

// walk returns the deepest node whose texts are a prefix of path, and whether they
// are all of it.
func (n *node) walk(path string) (*node, bool) {
	for n.depth < len(path) {
		i := strings.IndexByte(n.first, path[n.depth])
		if i < 0 || !strings.HasPrefix(path[n.depth:], n.children[i].text) {
			return n, false
		}
		n = n.children[i]
	}
	return n, true
}

// put returns the node at path, which it makes if there is none.
func (n *node) put(path string) *node {
	for n.depth < len(path) {
		rest := path[n.depth:]
		i := strings.IndexByte(n.first, rest[0])
		if i < 0 {
			child := &node{text: rest, depth: len(path), parent: n}
			n.first += rest[:1]
			n.children = append(n.children, child)
			return child
		}
		child := n.children[i]
		common := 0
		for common < min(len(rest), len(child.text)) && rest[common] == child.text[common] {
			common++
		}
		if common < len(child.text) {
			middle := &node{text: child.text[:common], depth: n.depth + common, parent: n, first: child.text[common : common+1], children: []*node{child}}
			child.text, child.parent = child.text[common:], middle
			n.children[i] = middle
			child = middle
		}
		n = child
	}
	return n
}
