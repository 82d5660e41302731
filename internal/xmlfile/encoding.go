package xmlfile

import (
	"bytes"
	"io"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

// Decode converts UTF-16, whose XML declaration cannot be read before, and returns the CharsetReader of encoding/xml for the other
// encodings.
func Decode(data []byte) ([]byte, func(name string, r io.Reader) (io.Reader, error)) {
	utf16 := utf16Of(data)
	if utf16 == nil {
		return bytes.TrimPrefix(data, []byte(utf8Mark)), charset
	}
	text, err := utf16.NewDecoder().Bytes(data)
	if err != nil {
		text = data // the decoder reports the error
	}
	return text, func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
}

const utf8Mark = "\xef\xbb\xbf"

// utf16Of returns the encoding of a file in UTF-16, by its first bytes; nil: it is in another one.
func utf16Of(data []byte) encoding.Encoding {
	for begin, e := range map[string]encoding.Encoding{
		"\x00<\x00?": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), "<\x00?\x00": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM),
		"\xfe\xff": unicode.UTF16(unicode.BigEndian, unicode.UseBOM), "\xff\xfe": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	} {
		if bytes.HasPrefix(data, []byte(begin)) {
			return e
		}
	}
	return nil
}

// charset converts from an encoding.
func charset(name string, r io.Reader) (io.Reader, error) {
	e, err := encodingNamed(name)
	if err != nil {
		return nil, err
	}
	return e.NewDecoder().Reader(r), nil
}
