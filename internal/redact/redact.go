// Package redact hides what is likely to be a secret in texts for people: by the
// names that values stand behind, and in URLs. It cannot know a secret by its value.
package redact

import "strings"

// Hidden stands for a secret.
const Hidden = "***"

// Args hides what is likely to be a secret in an argument list: the value of
// a -Dname=value or --name=value whose name looks secret, the argument behind
// --name, the passwords of URLs, and name=value pairs within an argument such as
// an agent's options. argv is left as it is.
func Args(argv []string) []string {
	out := make([]string, len(argv))
	for k, arg := range argv {
		if k > 0 && announces(argv[k-1]) && !strings.HasPrefix(arg, "-") {
			out[k] = Hidden
			continue
		}
		out[k] = Arg(arg)
	}
	return out
}

// announces says whether an option's value is the next argument, and a secret.
func announces(option string) bool {
	return strings.HasPrefix(option, "-") && !strings.ContainsAny(option, "=: ") && Name(option)
}

// Arg is Args for one.
func Arg(arg string) string {
	name, _, pair := strings.Cut(arg, "=")
	if pair && Name(name) && !strings.ContainsAny(name, " /") {
		return name + "=" + Hidden
	}
	return maskURLs(maskPairs(arg))
}

// maskPairs hides the value of each name=value within text whose name looks
// secret: up to the next separator.
func maskPairs(text string) string {
	const separators = ",;&? \t\n\""
	var out strings.Builder
	for {
		eq := strings.IndexByte(text, '=')
		if eq < 0 {
			out.WriteString(text)
			return out.String()
		}
		name := text[strings.LastIndexAny(text[:eq], separators+":/")+1 : eq]
		out.WriteString(text[:eq+1])
		text = text[eq+1:]
		if name == "" || !Name(name) {
			continue
		}
		end := strings.IndexAny(text, separators)
		if end < 0 {
			end = len(text)
		}
		if end > 0 {
			out.WriteString(Hidden)
		}
		text = text[end:]
	}
}

// maskURLs hides the password of each scheme://user:password@host.
func maskURLs(text string) string {
	var out strings.Builder
	for {
		at := strings.Index(text, "://")
		if at < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:at+3])
		text = text[at+3:]
		end := strings.IndexAny(text, "/?#, \t\n\"")
		if end < 0 {
			end = len(text)
		}
		authority := text[:end]
		if k := strings.LastIndexByte(authority, '@'); k >= 0 {
			if user, _, has := strings.Cut(authority[:k], ":"); has {
				authority = user + ":" + Hidden + authority[k:]
			}
		}
		out.WriteString(authority)
		text = text[end:]
	}
}

// Line is Args for a command line in one piece, as an hs_err file has it:
// where an argument with blanks ends cannot be seen.
func Line(line string) string {
	return strings.Join(Args(strings.Split(line, " ")), " ")
}
