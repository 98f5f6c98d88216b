package corefile

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// OptionRule is the directive rewrite edns0: an option of the query's OPT record
// (RFC 6891, section 6.1.2) is changed.
type OptionRule struct {
	// Kind is local, nsid or subnet, Action set, append, replace or unset.
	Kind, Action string
	// Code and Data are those of a local option. Variable, if there is one, says what
	// Data is instead; it is one of optionVariables.
	Code     uint16
	Data     []byte
	Variable string
	// Bits4 and Bits6 are how much of a client's address subnet tells, in bits.
	Bits4, Bits6 int
	// Revert keeps the change out of the reply.
	Revert bool
}

// optionVariables are what the data of local options can be made of.
var optionVariables = []string{"{qname}", "{qtype}", "{client_ip}", "{client_port}", "{protocol}", "{server_ip}", "{server_port}"}

// maxOptionData bounds the data of an option, so that queries with some of them fit into
// a packet.
const maxOptionData = 255

// optionUsages are the arguments of each kind of rule, but of unset.
var optionUsages = map[string]string{
	"local": "CODE DATA [revert]", "nsid": "[revert]", "subnet": "BITS4 BITS6 [revert]",
}

// readOption reads what follows "rewrite edns0", as CoreDNS's plugin/rewrite.
func readOption(l *line) *OptionRule {
	o := &OptionRule{Kind: l.lowerChoice(1, "local", "nsid", "subnet"), Action: l.lowerChoice(2, "set", "append", "replace", "unset")}
	if !slices.Contains([]string{"set", "append", "replace", "unset"}, o.Action) || optionUsages[o.Kind] == "" {
		return nil
	}
	args := l.texts(3)
	if last := len(args) - 1; o.Action != "unset" && last >= 0 && args[last] == "revert" {
		o.Revert, args = true, args[:last]
	}
	usage, want := optionUsages[o.Kind], map[string]int{"local": 2, "nsid": 0, "subnet": 2}[o.Kind]
	if o.Action == "unset" {
		usage, want = map[string]string{"local": "CODE"}[o.Kind], map[string]int{"local": 1}[o.Kind]
	}
	if len(args) != want {
		l.mistake("rewrite edns0 %s %s has the wrong number of arguments, %d; write %q", o.Kind, o.Action, len(args), strings.TrimSpace("rewrite edns0 "+o.Kind+" "+o.Action+" "+usage))
		return nil
	}
	var err error
	switch {
	case o.Kind == "local":
		err = o.local(args)
	case o.Kind == "subnet" && o.Action != "unset":
		if o.Bits4, err = bits(args[0], 32); err == nil {
			o.Bits6, err = bits(args[1], 128)
		}
	}
	if err != nil {
		l.mistake("rewrite edns0 %s: %v", o.Kind, err)
		return nil
	}
	if strings.Contains(o.Variable, "/") {
		l.lacks("rewrite edns0 metadata")
	}
	return o
}

// lowerChoice is choice whatever the case, as CoreDNS reads these words.
func (l *line) lowerChoice(n int, words ...string) string {
	if word := strings.ToLower(l.text(n)); slices.Contains(words, word) {
		return word
	}
	l.mistake("%s edns0: %q is none of %s%s", l.path, l.text(n), strings.Join(words, ", "), suggest(l.text(n), slices.Clone(words)))
	return ""
}

// local reads CODE and DATA.
func (o *OptionRule) local(args []string) error {
	code, err := strconv.ParseUint(args[0], 0, 16)
	if err != nil {
		return fmt.Errorf("%q is no code of an option; write a number such as 0xffee", args[0])
	}
	o.Code = uint16(code)
	if len(args) < 2 {
		return nil
	}
	data := args[1]
	switch {
	case strings.HasPrefix(data, "{") && strings.HasSuffix(data, "}"):
		if !slices.Contains(optionVariables, data) && !strings.Contains(data, "/") {
			return fmt.Errorf("%q is no variable; use one of %s", data, strings.Join(optionVariables, " "))
		}
		o.Variable = data
	case strings.HasPrefix(data, "0x"):
		if o.Data, err = hex.DecodeString(data[2:]); err != nil {
			return fmt.Errorf("%q is not in hexadecimal; write two digits for each byte after 0x", data)
		}
	default:
		o.Data = []byte(data)
	}
	if len(o.Data) > maxOptionData {
		return fmt.Errorf("the data has more than %d bytes; shorten it", maxOptionData)
	}
	return nil
}

// bits reads how many bits of an address are told.
func bits(text string, most uint64) (int, error) {
	n, err := strconv.ParseUint(text, 0, 16)
	if err != nil || n > most {
		return 0, fmt.Errorf("%q is not a number of bits from 0 to %d", text, most)
	}
	return int(n), nil
}
