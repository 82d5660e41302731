package initproto

import (
	"reflect"
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte("{\"t\":\"PUT\",\"name\":\"x\",\"pid\":1}\nblob"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(data)
		if err != nil {
			return
		}
		if len(m.Body) > MaxBlob {
			return
		}
		if _, err := Encode(m); err != nil {
			t.Fatalf("decoded but cannot be encoded: %v", err)
		}
	})
}

// Every field is encoded.
func TestMessageRoundTrip(t *testing.T) {
	in := &Msg{}
	fill(reflect.ValueOf(in).Elem())
	in.Fds, in.FdsCut = nil, false // descriptors travel beside the packet
	packet, err := Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode(packet)
	if err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("sent %+v\ngot  %+v (%v)", in, out, err)
	}
	if _, err := Encode(&Msg{Name: "big", Body: make([]byte, MaxBlob+1)}); err == nil {
		t.Error("a blob larger than the limit was accepted")
	}
}

// fill sets every field to something that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(8)
	}
}
