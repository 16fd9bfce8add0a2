package export

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/meterseal/meterseal/ledger"
)

// ReplyOptions says what is known before a reply is verified.
type ReplyOptions struct {
	// Origin is that of the ledger the reply should be for; "": any.
	Origin string
	// SiteKeys are the vkeys that must have signed the receipt's checkpoint: the
	// site's at that size, then site-pq's if enrolled. None: the site's
	// signature is not asked for, as by an auditor who knows the vendor only.
	SiteKeys []string
	// ReceiptKeys and ReplyKeys are the vendor's, as a license lists them that
	// is in force, or comes with this reply and was verified ([Reply.VendorKeys]).
	// A key of another role among them never helps.
	ReceiptKeys, ReplyKeys []string
	// RootAt returns the root of the site's own tree of that size, at most Size,
	// its present size. nil: the tree is not asked.
	RootAt func(size uint64) (ledger.Hash, error)
	Size   uint64
}

// VerifyReply verifies what a reply states under the vendor's receipt and reply
// keys: the receipt, and the acceptance or rejection. It says nothing of the
// license in it. Nothing is taken from a reply that fails.
//
// Errors are an [*Error], or an error of RootAt.
func VerifyReply(r *Reply, o ReplyOptions) error {
	if o.Origin != "" && r.Origin != o.Origin {
		return replyError(refuse(CodeWrongLedger, "the reply is for %s, this ledger is %s", r.Origin, o.Origin))
	}
	for _, verify := range []func(*Reply, ReplyOptions) error{verifyReceipt, verifyAcceptance, verifyRejection} {
		if err := verify(r, o); err != nil {
			return replyError(err)
		}
	}
	return nil
}

func verifyReceipt(r *Reply, o ReplyOptions) error {
	if r.Receipt == nil {
		return nil
	}
	cp, err := r.receipt()
	if err != nil {
		return err
	}
	if cp.Origin != r.Origin {
		return refuse(CodeWrongLedger, "the receipt is for %s, the reply for %s", cp.Origin, r.Origin)
	}
	keys, err := verifiers(o.SiteKeys)
	if err != nil {
		return refuse(CodeKeyUnknown, "site key: %v", err).because(err)
	}
	for _, k := range keys {
		if _, err := cp.Note.Verify(k); err != nil {
			return refuse(CodeSignature, "the site's own signature on the receipt: %v", err).because(err)
		}
	}
	if _, err := r.ReceiptKnown(o.ReceiptKeys); err != nil {
		return err
	}
	if o.RootAt == nil {
		return nil
	}
	if cp.Size > o.Size {
		return refuse(CodeBehindPin, "the vendor has accepted %d records, this ledger has %d", cp.Size, o.Size)
	}
	root, err := o.RootAt(cp.Size)
	if err != nil {
		return fmt.Errorf("root of the first %d records: %w", cp.Size, err)
	}
	if root != cp.Root {
		return refuse(CodeOffPin, "the vendor has accepted %d records with root %v, here they have %v", cp.Size, cp.Root, root)
	}
	return nil
}

// ReceiptKnown returns the receipt as the record `receipt` names it, once one of
// the receipt keys has cosigned it.
func (r *Reply) ReceiptKnown(keys []string) (ReceiptKnown, error) {
	cp, err := r.receipt()
	if err != nil {
		return ReceiptKnown{}, err
	}
	_, sig, err := verifyByOne(cp.Note, keys, ledger.RoleReceipt)
	if err != nil {
		return ReceiptKnown{}, replyError(signatureError("receipt", err))
	}
	at, err := sig.Time()
	if err != nil {
		return ReceiptKnown{}, replyError(signatureError("receipt", err))
	}
	return ReceiptKnown{cp.Checkpoint, at, ledger.Hash(sha256.Sum256(sig.Bytes()))}, nil
}

// errNoKey says that none of the keys has the role that is asked for.
var errNoKey = errors.New("no key is known")

// verifyByOne returns the first of the keys that made a valid signature, and
// that. Keys of another role are passed over.
func verifyByOne(n *ledger.Note, keys []string, role ledger.Role) (string, ledger.Signature, error) {
	failed := fmt.Errorf("%w for the role %s", errNoKey, role)
	for _, s := range keys {
		w, err := ledger.ParseVerifier(s, role)
		if err != nil {
			continue
		}
		sig, err := n.Verify(w)
		if err == nil {
			return s, sig, nil
		}
		failed = err
	}
	return "", ledger.Signature{}, failed
}

func signatureError(part string, err error) *Error {
	code := CodeSignature
	if errors.Is(err, errNoKey) {
		code = CodeKeyUnknown
	}
	return refuse(code, "%s: %v", part, err).because(err)
}

func verifyAcceptance(r *Reply, o ReplyOptions) error {
	if r.AcceptanceNote == nil {
		return nil
	}
	if err := verifyByReplyKey("acceptance", r.AcceptanceNote, o); err != nil {
		return err
	}
	a, err := ParseAcceptance(r.AcceptanceNote)
	if err != nil {
		return err
	}
	cp, err := r.Checkpoint()
	if err != nil {
		return err
	}
	if a.Accepted != cp {
		return refuse(CodeRootMismatch, "the acceptance is of %v, the receipt of %v", a.Accepted, cp)
	}
	return nil
}

func verifyRejection(r *Reply, o ReplyOptions) error {
	if r.RejectionNote == nil {
		return nil
	}
	return verifyByReplyKey("rejection", r.RejectionNote, o)
}

func verifyByReplyKey(part string, note []byte, o ReplyOptions) error {
	n, err := ledger.ParseNote(note, ledger.NoteBytesMax)
	if err == nil {
		_, _, err = verifyByOne(n, o.ReplyKeys, ledger.RoleReply)
	}
	if err != nil {
		return signatureError(part, err)
	}
	return nil
}

// VendorKeys returns the receipt and reply keys that the license of the reply
// lists, once one of the license keys has signed it. A reply without license
// gives none.
func (r *Reply) VendorKeys(licenseKeys []string) (receipt, reply []string, err error) {
	if r.License == nil {
		return nil, nil, nil
	}
	n, err := ledger.ParseNote(r.License, ledger.NoteBytesMax)
	if err == nil {
		_, _, err = verifyByOne(n, licenseKeys, ledger.RoleLicense)
	}
	if err != nil {
		return nil, nil, replyError(signatureError("license", err))
	}
	for line := range strings.Lines(n.Text) {
		name, key, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch name {
		case "receipt-key":
			receipt = append(receipt, key)
		case "reply-key":
			reply = append(reply, key)
		}
	}
	return receipt, reply, nil
}
