package jvm

import "strings"

// SplitJoined splits an argument that is several arguments in one text, such as "-Xmx1g
// -Xms1g". A value may hold blanks, so only what cannot be a value is a sign: something that begins with - behind an option without a command or a list
// of options as its value.
func SplitJoined(arg string) (args []string, ok bool) {
	args, err := SplitOptions(arg)
	if err != nil || len(args) < 2 || !strings.HasPrefix(args[0], "-") {
		return nil, false
	}
	first := args[0]
	if twoToken(first) {
		return args, true
	}
	name, value, _ := strings.Cut(first, "=")
	switch {
	case name == "-XX:OnError" || name == "-XX:OnOutOfMemoryError":
		return nil, false // a command
	case strings.HasPrefix(value, "-"):
		return nil, false // -Dapp.options=-a -b
	}
	for _, a := range args[1:] {
		known := strings.HasPrefix(a, "-X") || strings.HasPrefix(a, "-D") || strings.HasPrefix(a, "--")
		if known || strings.HasPrefix(a, "-") && !strings.HasPrefix(first, "-D") {
			return args, true
		}
	}
	return nil, false
}
