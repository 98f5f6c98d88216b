package waf

import "strings"

// Bounds of a text, and of what is looked at of bodies, in octets.
const (
	maxText         = 64 << 10
	maxRules        = 100
	maxTransforms   = 16
	maxVariables    = 16  // of one rule
	maxAllVariables = 200 // of all rules of a text
	maxExpression   = 2 << 10
	maxProgram      = 2000      // instructions of one expression
	maxPrograms     = 10000     // of all of a text
	MaxRequestBody  = 128 << 10 // the core rules take some 30 µs for an octet
	MaxResponseBody = 128 << 10
)

// standing is what becomes of a directive.
type standing uint8

const (
	followed standing = iota + 1
	late              // after the core rules, which it changes
	needless          // of what is not done here, so nothing is missing without it
	sized             // followed, by a size with a bound of its own
	include
	rule
	action
	updatesAction
)

// directives are all that are taken.
func directives() map[string]standing {
	all := map[string]standing{
		"include": include, "secrule": rule, "secaction": action, "secdefaultaction": action, "secruleupdateactionbyid": updatesAction,
		"secrequestbodylimit": sized, "secresponsebodylimit": sized,
	}
	for what, names := range map[standing]string{
		followed: `secruleengine secrequestbodyaccess secrequestbodylimitaction secresponsebodyaccess secresponsebodylimitaction
			secresponsebodymimetype secresponsebodymimetypesclear secmarker seccomponentsignature`,
		late: `secruleremovebyid secruleremovebytag secruleremovebymsg secruleupdatetargetbyid secruleupdatetargetbytag`,
		needless: `secauditengine secauditlogparts secauditlogrelevantstatus secauditlogformat secdebugloglevel secpcrematchlimit
			secpcrematchlimitrecursion secrequestbodyinmemorylimit secrequestbodynofileslimit secargumentslimit seccollectiontimeout
			secrequestbodyjsondepthlimit secresponsebodyjsondepthlimit secserversignature`,
	} {
		for name := range strings.FieldsSeq(names) {
			all[name] = what
		}
	}
	return all
}

// harmless are values of directives that are refused otherwise: what they ask for is so.
func harmless() map[string][]string {
	return map[string][]string{
		"secauditlog": {"/dev/stdout", "/dev/stderr"}, "secdebuglog": {"/dev/stdout", "/dev/stderr"}, "secauditlogtype": {"serial"},
		"secunicodemapfile": {"unicode.mapping 20127"}, "seccookieformat": {"0"}, "secargumentseparator": {"&"},
		"secstatusengine": {"off"}, "secuploadkeepfiles": {"off"},
	}
}

// operators are those that look at nothing but their argument and the value.
func operators() map[string]bool {
	return words(`rx pm contains beginsWith endsWith eq ge gt le lt streq strmatch within ipMatch detectSQLi detectXSS noMatch
		unconditionalMatch validateByteRange validateUrlEncoding validateUtf8Encoding`)
}

// actions are those that change nothing but the request's own state and answer.
func actions() map[string]bool {
	return words(`accuracy allow auditlog block capture chain ctl deny drop id log logdata maturity msg multimatch noauditlog nolog
		pass phase redirect rev setvar severity skip skipafter status t tag ver`)
}

// controls are what ctl may change.
func controls() map[string]bool {
	return words(`auditEngine auditLogParts requestBodyAccess requestBodyProcessor forceRequestBodyVariable responseBodyAccess
		ruleEngine ruleRemoveById ruleRemoveByMsg ruleRemoveByTag ruleRemoveTargetById ruleRemoveTargetByMsg ruleRemoveTargetByTag`)
}

// processors are those of bodies.
func processors() map[string]bool { return words("URLENCODED MULTIPART XML JSON RAW") }

func words(text string) map[string]bool {
	all := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		all[word] = true
	}
	return all
}

// Where ingress-nginx has its rules.
const (
	nginxRecommended = "/etc/nginx/modsecurity/modsecurity.conf"
	nginxCoreRules   = "/etc/nginx/owasp-modsecurity-crs/"
)
