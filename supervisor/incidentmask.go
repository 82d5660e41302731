package supervisor

import "strings"

// masked stands for a secret.
const masked = "***"

// secretName reports whether a variable or option of that name is likely to hold
// a secret. It errs on the side of hiding, by the rule of internal/config.
func secretName(name string) bool {
	name = strings.ToUpper(name)
	for _, word := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// MaskArgs hides what is likely to be a secret in an argument list: the value of
// a -Dname=value or --name=value whose name looks secret, the argument behind
// --name, the passwords of URLs, and name=value pairs within an argument such as
// an agent's options. argv is left as it is.
func MaskArgs(argv []string) []string {
	out := make([]string, len(argv))
	for k, arg := range argv {
		if k > 0 && announces(argv[k-1]) && !strings.HasPrefix(arg, "-") {
			out[k] = masked
			continue
		}
		out[k] = maskArg(arg)
	}
	return out
}

// announces says whether an option's value is the next argument, and a secret.
func announces(option string) bool {
	return strings.HasPrefix(option, "-") && !strings.ContainsAny(option, "=: ") && secretName(option)
}

func maskArg(arg string) string {
	name, _, pair := strings.Cut(arg, "=")
	if pair && secretName(name) && !strings.ContainsAny(name, " /") {
		return name + "=" + masked
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
		if name == "" || !secretName(name) {
			continue
		}
		end := strings.IndexAny(text, separators)
		if end < 0 {
			end = len(text)
		}
		if end > 0 {
			out.WriteString(masked)
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
				authority = user + ":" + masked + authority[k:]
			}
		}
		out.WriteString(authority)
		text = text[end:]
	}
}

// MaskLine is MaskArgs for a command line in one piece, as an hs_err file has it:
// where an argument with blanks ends cannot be seen.
func MaskLine(line string) string {
	return strings.Join(MaskArgs(strings.Split(line, " ")), " ")
}
