package filter

import "testing"

// TestHostField holds that no ConfigMap sets a second Host.
func TestHostField(t *testing.T) {
	c, problems := Read(Reference{Purpose: RequestFields, Namespace: "shop", Name: "fields"}, map[string][]byte{"Host": []byte("x"), "X-A": []byte("b")})
	if c != nil || len(problems) != 1 {
		t.Errorf("%v, problems %q", c, problems)
	}
}
