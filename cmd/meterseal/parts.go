package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/meterseal/meterseal/export"
	"github.com/meterseal/meterseal/internal/cli"
)

// Formats of report show that carry a whole document past a gap where no medium
// may pass, as parts for QR codes.
const (
	formatParts = "parts" // one a line
	formatQR    = "qr"    // drawn for a terminal
	formatPNG   = "png"   // pictures, one file each
)

// pngPixels is the size of a module of a picture.
const pngPixels = 4

// showParts writes a report or reply as parts. Pictures go to files whose names
// begin with out.
func (a *app) showParts(in io.Reader, format, out string, force bool) error {
	doc, err := io.ReadAll(io.LimitReader(in, export.PartsTextMax+1))
	if err != nil {
		return err
	}
	parts, err := export.SplitParts(doc)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		if format == formatParts {
			_, err := io.WriteString(w, strings.Join(parts, "\n")+"\n")
			return err
		}
		for i, p := range parts {
			fmt.Fprintf(w, "part %d of %d\n", i+1, len(parts))
			if err := export.WriteQRText(w, p, false); err != nil {
				return err
			}
		}
		return nil
	}
	switch {
	case format == formatPNG && out == "-":
		return cli.Fail(cli.ExitUsage, "config_invalid", "give -o NAME: the pictures are NAME-1.png and on", "pictures are not written to stdout")
	case format == formatPNG:
		for i, p := range parts {
			name := fmt.Sprintf("%s-%d.png", strings.TrimSuffix(out, ".png"), i+1)
			if err := cli.WriteFile(name, force, func(w io.Writer) error { return export.WriteQRPNG(w, p, pngPixels) }); err != nil {
				return err
			}
			fmt.Fprintf(a.Err, "wrote     %s   part %d of %d\n", name, i+1, len(parts))
		}
		return nil
	case out == "-":
		return write(a.Out)
	}
	return cli.WriteFile(out, force, write)
}
