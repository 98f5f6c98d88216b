package migrate

import (
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// Write writes documents as YAML, each with its notes in front as comments.
func Write(w io.Writer, all []Document) error {
	for n, d := range all {
		if n > 0 {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
		}
		for _, note := range d.Notes {
			fmt.Fprintf(w, "# %s\n", line(note))
		}
		text, err := marshal(d.Object)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// marshal leaves out what only a cluster fills in.
func marshal(object any) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	delete(fields, "status")
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	return yaml.Marshal(fields)
}

// line keeps a note, which can hold a user's text, from ending its comment.
func line(note string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == 0x85 || c == 0x2028 || c == 0x2029 {
			return ' '
		}
		return c
	}, note)
}

// Name returns KIND NAMESPACE/NAME of a document.
func (d Document) Name() string {
	kind := fmt.Sprintf("%T", d.Object)
	return kind[strings.LastIndexByte(kind, '.')+1:] + " " + d.Object.GetNamespace() + "/" + d.Object.GetName()
}
