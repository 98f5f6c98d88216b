package config

import "testing"

// TestMessagesOfACME holds what a user reads who made a mistake.
func TestMessagesOfACME(t *testing.T) {
	for text, want := range map[string]string{
		"acme: {server: http://ca}":                       `acme.server: "http://ca" is not of the form https://HOST/DIRECTORY`,
		"acme: {email: ops}":                              `acme.email: "ops" is not one address of the form NAME@DOMAIN`,
		"acme: {challenge: http}":                         `acme.challenge: "http" is none of http-01, tls-alpn-01 and dns-01`,
		"acme: {challenge: dns-01}":                       `acme.dnsWebhook.url: is empty, but acme.challenge is dns-01; say who makes the records`,
		"acme: {default: true}":                           `acme.agreeToTerms: is false, so nothing is ordered, but acme.default is true; read the terms of service (the authority's directory links them as meta.termsOfService) and say true`,
		"acme: {dnsWebhook: {url: \"https://u:p@dns/\"}}": `acme.dnsWebhook.url: "https://u:p@dns/" is not of the form https://HOST/PATH`,
		"acme: {dnsWebhook: {propagation: 1h}}":           `acme.dnsWebhook.propagation: 1h0m0s is not between 0s and 10m`,
		"acme: {eab: {keyID: a}}":                         `acme.eab: keyID and secret need each other; the authority gives a key and its ID`,
		"acme: {eab: {keyID: a, secret: A}}":              `acme.eab.secret: "A" is not the name of a Secret: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
		"acme: {eab: {keyId: a}}":                         `line 1: unknown field "keyId"; did you mean "keyID"?`,
		"acme: {ordersPerHour: 0}":                        `acme.ordersPerHour: 0 is not between 1 and 10000`,
		"acme: {caFile: ca.pem}":                          `acme.caFile: "ca.pem" is not an absolute path`,
	} {
		if _, err := Parse([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}
