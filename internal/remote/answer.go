package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
)

// Answer is a document of options: lines of text, or a list.
type Answer struct {
	// Text holds one option per line; empty if List is set.
	Text string
	// List holds the options of a JSON document; nil for text.
	List []string
}

// ParseAnswer parses a document of options, which is UTF-8. It is JSON (an array of strings, or an object with the key "options") if its
// content type says so or it begins with [ or {, else text. Anything else is rejected.
func ParseAnswer(contentType string, body []byte) (Answer, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil && contentType != "" {
		return Answer{}, errors.New("its content type cannot be read")
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	begin := bytes.TrimLeft(body, " \t\r\n")
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	switch {
	case !isJSON && kind != "" && kind != "text/plain" && kind != "application/octet-stream":
		return Answer{}, fmt.Errorf("its content type is %q, and not text/plain or application/json", kind)
	case isJSON || len(begin) > 0 && (begin[0] == '[' || begin[0] == '{'):
		return parseList(body)
	}
	for k, line := range strings.Split(string(body), "\n") {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\r"), isControl) {
			return Answer{}, fmt.Errorf("line %d has a control character", k+1)
		}
	}
	return Answer{Text: string(body)}, nil
}

// isControl reports whether a character is not allowed in an option.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// parseList parses an array, or an object with the key options.
func parseList(body []byte) (Answer, error) {
	var object struct {
		Options []*string `json:"options"`
	}
	into := any(&object)
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		into = &object.Options
	}
	err := json.Unmarshal(body, into)
	if err == nil && object.Options == nil {
		err = errors.New("it is no array, and it has no options")
	}
	if err != nil {
		return Answer{}, fmt.Errorf("its JSON cannot be used: %w", err)
	}
	list := object.Options
	out := Answer{List: make([]string, 0, len(list))}
	for k, option := range list {
		if option == nil || *option == "" || strings.ContainsFunc(*option, isControl) {
			return Answer{}, fmt.Errorf("its option %d is empty or has a control character", k+1)
		}
		out.List = append(out.List, *option)
	}
	return out, nil
}
