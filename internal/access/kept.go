package access

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kept is an identity that is written as JSON for the next supervisor, together with what Check looks at. That is hashes and
// certificates, and no secret.
type Kept struct{ Identity }

// MarshalJSON writes it.
func (k Kept) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Identity
		Proof keptProof `json:",omitzero"`
	}{k.Identity, k.proof.keep()})
}

// UnmarshalJSON reads it.
func (k *Kept) UnmarshalJSON(data []byte) error {
	v := struct {
		*Identity
		Proof keptProof
	}{Identity: &k.Identity}
	err := json.Unmarshal(data, &v)
	if err == nil {
		k.proof, err = v.Proof.restore()
	}
	if err != nil {
		return fmt.Errorf("cannot read an identity: %w", err)
	}
	return nil
}

// keptProof is a proof for the next supervisor; zero: there is none.
type keptProof struct {
	Token hash     `json:"token,omitzero"`
	Login hash     `json:"login,omitzero"`
	Chain [][]byte `json:"chain,omitempty"`
}

func (p *proof) keep() (k keptProof) {
	if p == nil {
		return k
	}
	k.Token, k.Login = p.token, p.login
	for _, c := range p.chain {
		k.Chain = append(k.Chain, c.Raw)
	}
	return k
}

func (k keptProof) restore() (*proof, error) {
	if k.Token == (hash{}) && k.Login == (hash{}) && len(k.Chain) == 0 {
		return nil, nil
	}
	p := &proof{token: k.Token, login: k.Login}
	for _, der := range k.Chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		p.chain = append(p.chain, c)
	}
	return p, nil
}

// keptLogin is a login for the next supervisor.
type keptLogin struct {
	Hash   hash      `json:"hash"`
	Name   string    `json:"name"`
	Grants Grants    `json:"grants"`
	Until  time.Time `json:"until"`
	keptProof
}

// MarshalText writes a hash in hexadecimal.
func (h hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads it.
func (h *hash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return errors.New("a hash is damaged")
	}
	*h = hash(b)
	return nil
}
