package ledger

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/mldsa"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Types of keys and of their signatures.
const (
	KeyEd25519     = 0x01 // signs the text
	KeyCosignature = 0x04 // Ed25519: signs a time and the text, C2SP cosignature/v1
	KeyMLDSA44     = 0x06 // ML-DSA-44: signs a time, origin, size and root, C2SP subtree/v1
)

// ErrWrongRole is returned for a key of another role: it verifies nothing here,
// however good its signature is.
var ErrWrongRole = errors.New("key of another role")

// Role is the one job of a key.
type Role uint8

// The roles. Type and name of a key say which it has.
const (
	RoleSite      Role = iota + 1 // 0x01, the origin: checkpoints of its own ledger
	RoleSitePQ                    // 0x06, the origin: the same checkpoints
	RoleReplica                   // 0x04, origin /replica/ number
	RoleNode                      // 0x04, origin /node/ node
	RoleLicense                   // 0x01, domain /license/ label: licenses
	RoleReceipt                   // 0x04, domain /receipt/ label: accepted checkpoints
	RoleReceiptPQ                 // 0x06, domain /receipt/ label
	RoleReply                     // 0x01, domain /reply/ label: acceptance and rejection notes
)

var roles = [...]struct {
	name string
	typ  byte
}{
	RoleSite: {"site", KeyEd25519}, RoleSitePQ: {"site-pq", KeyMLDSA44},
	RoleReplica: {"replica", KeyCosignature}, RoleNode: {"node", KeyCosignature},
	RoleLicense: {"license", KeyEd25519}, RoleReceipt: {"receipt", KeyCosignature},
	RoleReceiptPQ: {"receipt-pq", KeyMLDSA44}, RoleReply: {"reply", KeyEd25519},
}

// String returns the name of r; for a site's keys as in records.
func (r Role) String() string {
	if r == 0 || int(r) >= len(roles) {
		return fmt.Sprintf("role(%d)", uint8(r))
	}
	return roles[r].name
}

// KeyType returns the type that keys of r have.
func (r Role) KeyType() byte { return roles[r].typ }

// A VKey is a verifier key.
type VKey struct {
	Name   string
	ID     uint32 // first 4 bytes of H(Name LF type ‖ Public)
	Type   byte
	Public []byte
}

// ParseVKey parses NAME+ID+base64 in its one spelling and recomputes the key id.
// It takes the three types of this package only.
func ParseVKey(s string) (VKey, error) {
	name, rest, _ := strings.Cut(s, "+")
	id, b64, _ := strings.Cut(rest, "+")
	raw, err := ParseBase64(b64)
	if err != nil || len(raw) < 1 || checkKeyName(name) != nil {
		return VKey{}, malformed("%.300q is not a verifier key", s)
	}
	k := VKey{Name: name, Type: raw[0], Public: raw[1:]}
	if n := publicBytes(k.Type); n == 0 || len(k.Public) != n {
		return VKey{}, malformed("verifier key %.260q of type %#02x with %d bytes", name, k.Type, len(k.Public))
	}
	k.ID = keyID(name, raw)
	if want := fmt.Sprintf("%08x", k.ID); id != want {
		return VKey{}, malformed("verifier key %.260q has the id %.10q, its key gives %s", name, id, want)
	}
	return k, nil
}

func publicBytes(typ byte) int {
	switch typ {
	case KeyEd25519, KeyCosignature:
		return ed25519.PublicKeySize
	case KeyMLDSA44:
		return mldsa.MLDSA44PublicKeySize
	}
	return 0
}

func checkKeyName(s string) error {
	if len(s) == 0 || len(s) > KeyNameBytesMax {
		return malformed("key name of %d bytes", len(s))
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' {
			return malformed("%q in the name of a key", c)
		}
	}
	return nil
}

func keyID(name string, typeAndKey []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), typeAndKey...))
	return binary.BigEndian.Uint32(sum[:])
}

// NewVKey returns the verifier key of a name, type and public key.
func NewVKey(name string, typ byte, public []byte) VKey {
	return VKey{Name: name, Type: typ, Public: public, ID: keyID(name, append([]byte{typ}, public...))}
}

// String returns the spelling of k.
func (k VKey) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.Name, k.ID, base64.StdEncoding.EncodeToString(append([]byte{k.Type}, k.Public...)))
}

// CheckRole reports whether k may do the job of role: its type and the shape of
// its name say so. That the name is the right origin or vendor is for the caller.
func (k VKey) CheckRole(role Role) error {
	ok := role > 0 && int(role) < len(roles) && k.Type == role.KeyType()
	switch role {
	case RoleSite, RoleSitePQ:
		_, err := ParseOrigin(k.Name)
		ok = ok && err == nil
	case RoleReplica:
		number, found := k.under("replica")
		_, isNumber := parseUint(number)
		ok = ok && found && isNumber
	case RoleNode:
		_, found := k.Node()
		ok = ok && found
	default:
		host, rest, _ := strings.Cut(k.Name, "/")
		label, found := strings.CutPrefix(rest, strings.TrimSuffix(role.String(), "-pq")+"/")
		ok = ok && found && isHost(host) && isName(label)
	}
	if !ok {
		return fmt.Errorf("%w: %.260q of type %#02x is no %s key", ErrWrongRole, k.Name, k.Type, role)
	}
	return nil
}

// Origin returns the origin that begins the name of a site, replica or node key;
// "" for the keys of a vendor.
func (k VKey) Origin() string {
	parts := strings.SplitN(k.Name, "/", 4)
	if len(parts) < 3 {
		return ""
	}
	o := strings.Join(parts[:3], "/")
	if _, err := ParseOrigin(o); err != nil {
		return ""
	}
	return o
}

// Node returns the node of a node key's name.
func (k VKey) Node() (string, bool) {
	node, ok := k.under("node")
	return node, ok && isNode(node)
}

func (k VKey) under(folder string) (string, bool) {
	o := k.Origin()
	if o == "" {
		return "", false
	}
	return strings.CutPrefix(k.Name[len(o):], "/"+folder+"/")
}

// Verifier returns what checks the signatures of k. Two keys with one name and
// id are the same key.
func (k VKey) Verifier() (note.Verifier, error) {
	switch k.Type {
	case KeyEd25519:
		return note.NewVerifier(k.String())
	case KeyCosignature, KeyMLDSA44:
		return fnote.NewVerifierForCosignatureV1(k.String())
	}
	return nil, malformed("verifier key of type %#02x", k.Type)
}

// ParseVerifier returns the verifier of a spelled key after checking its role.
func ParseVerifier(vkey string, role Role) (note.Verifier, error) {
	k, err := ParseVKey(vkey)
	if err != nil {
		return nil, err
	}
	if err := k.CheckRole(role); err != nil {
		return nil, err
	}
	return k.Verifier()
}

// A SecretKey is the private half of a key of any type. It has no String method
// and prints as its public half, so that it never ends up in a log.
type SecretKey struct {
	public VKey
	seed   []byte
}

// GenerateKey makes a key with 32 bytes of rand, crypto/rand.Reader.
func GenerateKey(name string, typ byte, rand io.Reader) (*SecretKey, error) {
	seed := make([]byte, 32)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("generate key %q: %w", name, err)
	}
	return NewSecretKey(name, typ, seed)
}

// GenerateSiteKey makes the site key and nonce of a new ledger. The key's name
// is the origin, which commits to the key.
func GenerateSiteKey(domain, licenseID string, rand io.Reader) (key *SecretKey, nonce [8]byte, err error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err = io.ReadFull(rand, seed); err == nil {
		_, err = io.ReadFull(rand, nonce[:])
	}
	if err != nil {
		return nil, nonce, fmt.Errorf("generate site key: %w", err)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	origin := Origin{domain, licenseID, LedgerID(domain, licenseID, public, nonce)}
	if _, err := ParseOrigin(origin.String()); err != nil {
		return nil, nonce, fmt.Errorf("generate site key: %w", err)
	}
	key, err = NewSecretKey(origin.String(), KeyEd25519, seed)
	return key, nonce, err
}

// NewSecretKey returns the key of a seed of 32 bytes.
func NewSecretKey(name string, typ byte, seed []byte) (*SecretKey, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if len(seed) != 32 {
		return nil, malformed("private key %q of %d bytes", name, len(seed))
	}
	k := &SecretKey{seed: append([]byte(nil), seed...)}
	switch typ {
	case KeyEd25519, KeyCosignature:
		k.public = NewVKey(name, typ, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
	case KeyMLDSA44:
		priv, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
		if err != nil {
			return nil, fmt.Errorf("private key %q: %w", name, err)
		}
		k.public = NewVKey(name, typ, priv.PublicKey().Bytes())
	default:
		return nil, malformed("private key %q of type %#02x", name, typ)
	}
	return k, nil
}

const privatePrefix = "PRIVATE+KEY+"

// ParseSecretKey parses PRIVATE+KEY+NAME+ID+base64. No error of it quotes the
// input.
func ParseSecretKey(s string) (*SecretKey, error) {
	rest, ok := strings.CutPrefix(s, privatePrefix)
	name, rest, _ := strings.Cut(rest, "+")
	_, b64, _ := strings.Cut(rest, "+")
	raw, err := ParseBase64(b64)
	if !ok || err != nil || len(raw) == 0 {
		return nil, malformed("private key: not PRIVATE+KEY+NAME+ID+base64")
	}
	k, err := NewSecretKey(name, raw[0], raw[1:])
	if err != nil {
		return nil, malformed("private key: name, type or length is wrong")
	}
	if k.Secret() != s {
		return nil, malformed("private key %q: its id is not that of the key", name)
	}
	return k, nil
}

// Secret returns the line of the key file, without LF.
func (k *SecretKey) Secret() string {
	return fmt.Sprintf("%s%s+%08x+%s", privatePrefix, k.public.Name, k.public.ID,
		base64.StdEncoding.EncodeToString(append([]byte{k.public.Type}, k.seed...)))
}

// Format prints the public half, whatever the verb.
func (k *SecretKey) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "secret key of %s", k.public) }

// VKey returns the public half.
func (k *SecretKey) VKey() VKey { return k.public }

// Signer returns what signs with k. Keys of type 0x04 and 0x06 sign a time: now
// gives it. It may be nil for type 0x01.
func (k *SecretKey) Signer(now func() time.Time) (note.Signer, error) {
	s := &signer{public: k.public}
	switch k.public.Type {
	case KeyEd25519:
		priv := ed25519.NewKeyFromSeed(k.seed)
		s.sign = func(msg []byte) ([]byte, error) { return ed25519.Sign(priv, msg), nil }
	case KeyCosignature:
		if now == nil {
			return nil, fmt.Errorf("signer %q: cosignatures need a clock", k.public.Name)
		}
		priv := ed25519.NewKeyFromSeed(k.seed)
		s.sign = func(msg []byte) ([]byte, error) {
			if _, err := parseCheckpointText(string(msg)); err != nil {
				return nil, err // this type would sign any text; ours signs checkpoints
			}
			t := now().Unix()
			sig := binary.BigEndian.AppendUint64(nil, uint64(t))
			return append(sig, ed25519.Sign(priv, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t, msg))...), nil
		}
	case KeyMLDSA44:
		if now == nil {
			return nil, fmt.Errorf("signer %q: cosignatures need a clock", k.public.Name)
		}
		priv, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), k.seed)
		if err != nil {
			return nil, fmt.Errorf("signer %q: %w", k.public.Name, err)
		}
		s.sign = func(msg []byte) ([]byte, error) { return signSubtree(priv, k.public.Name, now().Unix(), msg) }
	}
	return s, nil
}

// signSubtree makes a C2SP subtree/v1 signature of a whole tree.
func signSubtree(priv *mldsa.PrivateKey, name string, t int64, msg []byte) ([]byte, error) {
	cp, err := parseCheckpointText(string(msg))
	if err != nil {
		return nil, err
	}
	if len(cp.Origin) > 255 {
		return nil, malformed("origin of %d bytes", len(cp.Origin))
	}
	b := []byte("subtree/v1\n\x00")
	b = append(append(b, byte(len(name))), name...)
	b = binary.BigEndian.AppendUint64(b, uint64(t))
	b = append(append(b, byte(len(cp.Origin))), cp.Origin...)
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint64(b, cp.Size)
	b = append(b, cp.Root[:]...)
	sig, err := priv.Sign(nil, b, nil)
	if err != nil {
		return nil, fmt.Errorf("sign with %q: %w", name, err)
	}
	return append(binary.BigEndian.AppendUint64(nil, uint64(t)), sig...), nil
}

type signer struct {
	public VKey
	sign   func([]byte) ([]byte, error)
}

func (s *signer) Name() string                    { return s.public.Name }
func (s *signer) KeyHash() uint32                 { return s.public.ID }
func (s *signer) Sign(msg []byte) ([]byte, error) { return s.sign(msg) }
