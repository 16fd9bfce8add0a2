package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
	"github.com/meterseal/meterseal/ledger"
)

// isReply reports whether a file begins as a vendor's reply.
func isReply(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 16)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return export.IsReply(head[:n]), nil
}

// verifyReply verifies what a reply states with the vendor's keys, and prints it.
func (a *app) verifyReply(cmd *cobra.Command, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, ledger.ReplyBytesMax+1))
	if err != nil {
		return err
	}
	r, err := export.ParseReply(b)
	var o export.ReplyOptions
	if err == nil {
		o, err = replyOptions(cmd, r)
	}
	if err == nil {
		err = export.VerifyReply(r, o)
	}
	if err == nil {
		if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
			err = export.WriteReplyJSON(a.Out, r, o)
		} else {
			err = export.WriteReplyText(a.Out, r, o)
		}
	}
	var doc *export.Error
	if errors.As(err, &doc) {
		return documentFailure(path, doc)
	}
	return err
}

// replyOptions sorts the vendor's keys by their roles. A license key gives the
// others: those that the license in the reply lists.
func replyOptions(cmd *cobra.Command, r *export.Reply) (o export.ReplyOptions, err error) {
	f := cmd.Flags()
	o.Origin, _ = f.GetString("origin")
	if o.SiteKeys, err = siteKeyFlags(cmd); err != nil {
		return o, err
	}
	vendor, _ := f.GetStringArray("vendor-key")
	receipt, _ := f.GetStringArray("receipt-key")
	var license []string
	for _, value := range append(vendor, receipt...) {
		keys, err := keysOf(value)
		if err != nil {
			return o, err
		}
		for _, s := range keys {
			k, err := ledger.ParseVKey(s)
			switch {
			case err != nil:
				return o, cli.Fail(cli.ExitUsage, "config_invalid", "the vendor publishes it, and a license lists it", "--vendor-key is no key: %v", err)
			case k.CheckRole(ledger.RoleLicense) == nil:
				license = append(license, s)
			case k.CheckRole(ledger.RoleReceipt) == nil:
				o.ReceiptKeys = append(o.ReceiptKeys, s)
			case k.CheckRole(ledger.RoleReply) == nil:
				o.ReplyKeys = append(o.ReplyKeys, s)
			}
		}
	}
	if len(license)+len(o.ReceiptKeys)+len(o.ReplyKeys) == 0 {
		return o, cli.Fail(cli.ExitUsage, "config_invalid", "the vendor publishes it, and a license lists it", "--vendor-key is missing: without a key of the vendor nothing is proven")
	}
	if len(license) > 0 {
		receipt, reply, err := r.VendorKeys(license)
		if err != nil {
			return o, err
		}
		o.ReceiptKeys, o.ReplyKeys = append(o.ReceiptKeys, receipt...), append(o.ReplyKeys, reply...)
	}
	return o, nil
}

// keysOf reads a flag that is a key, or @FILE with one in each line.
func keysOf(value string) ([]string, error) {
	file, ok := strings.CutPrefix(value, "@")
	if !ok {
		return strings.Fields(value), nil
	}
	b, err := os.ReadFile(file)
	return strings.Fields(string(b)), err
}
