// Codes in plain words: what they mean, and who puts it right how.

type Words = readonly [means: string, todo: string];

const EXPORT = "Copy the file again in binary and compare size and SHA-256; if it is the same, export it again.";
const EXAMINE = "The vendor examines the record that is named, together with the site.";

const CODES: Readonly<Record<string, Words>> = {
  "format/not_a_report": ["This is no usage report.", "Choose the .usage file."],
  "format/not_a_reply": ["This is no reply.", "Choose the .reply file."],
  "format/line_ends_changed": ["Line ends or encoding were changed on the way.", EXPORT],
  "format/truncated": ["The file is cut: its end is missing.", EXPORT],
  "format/malformed": ["Something in it is not written as the format asks.", EXPORT],
  "format/encrypted": ["The file is encrypted for somebody.", "Decrypt it with the key that it was encrypted for, then verify the text."],
  "key/unknown": ["It is not signed with a key that is known here.", "Is it for another vendor, or another site? Else activate the site."],
  "key/rotated": ["It is signed with a key that the site has replaced.", "Export it with the newer key."],
  "signature/invalid": ["A signature does not fit the text: it was edited or damaged.", EXPORT],
  "proof/root_mismatch": ["Its records are not those that were signed: the file was edited or damaged.", EXPORT],
  "history/base_missing": ["It continues from a state that is not known here.", "Verify the earlier report first, or enter the checkpoint that was accepted."],
  "history/differs": ["The site signed another history than the one that was accepted.", "On the site: meterseal restore; stop a second daemon."],
  "history/fork": ["The site signed two different states of the same size.", "On the site: stop a second daemon; meterseal restore."],
  "history/rolled_back": ["The ledger went back behind what was accepted.", "On the site: meterseal restore."],
  "history/witness_ahead": ["A node has seen more than the ledger holds.", "On the site: meterseal restore."],
  "ledger/retired": ["Records follow the end of the ledger.", "Activate the site anew."],
  "ledger/wrong_ledger": ["It is for another ledger than the key that you entered.", "Choose the file of this site."],
  ledger_behind_pin: ["The receipt is of more records than the site has.", "On the site: meterseal restore."],
  ledger_off_pin: ["The receipt is of another history than the site's.", "On the site: meterseal restore."],
  "records/totals": ["Totals that the site signed are not those of its records.", EXAMINE],
  "records/sequence_gap": ["Numbers are missing: events are not accounted for.", EXAMINE],
  "records/window_gap": ["A stretch of time is not covered by the records, or is covered twice.", EXAMINE],
  "size/too_large": ["It is larger than this verifier reads.", "Send more reports, each of less."],
  "size/ratio": ["It unpacks to far more than a report would.", "Send it uncompressed."],
  "version/too_new": ["It is of a newer format than this verifier knows.", "Get a newer verifier."],
  "version/too_old": ["It is of an older format than this verifier knows.", "Upgrade the site, and export again."],
  "explain/restore": ["The ledger came back from a backup.", "Say why and when."],
  "explain/gap": ["For a stretch of time nothing is known of a node.", "Say what happened then."],
  "explain/clock_step": ["The clock was moved by a day or more.", "Say why."],
  "explain/bindings": ["The program runs on another machine than before.", "Say that it was moved."],
  "explain/receipt_missing": ["The site did not import the vendor's last reply.", "Import it."],
  "explain/unknown_kind": ["It has a record of a kind that this verifier does not know.", "Get a newer verifier."],
  not_a_license: ["This is no license.", "Choose the file or the key that the vendor sent."],
  license_key_cut: ["The license key was cut or mistyped.", "Copy it again, from ms1. to its last sign."],
  license_invalid: ["The license is not written as the format asks, or not signed by the vendor's key.", "Get it from the vendor again."],
  license_revoked: ["The key that signed the license was revoked.", "Ask the vendor for a new license."],
  upgrade_needed: ["The license is of a newer format than this verifier knows.", "Get a newer verifier."],
  "browser/no_crypto": ["This browser does not let this page check signatures.", "Open the page from https://, or keep it as a file and open that."],
  "browser/no_ed25519": ["This browser cannot check Ed25519 signatures.", "Use a newer one: Chrome or Edge 137, Firefox 129, Safari 17."],
  "browser/key_wanted": ["A reply without a license in it does not say with which keys to check it.", "Enter the vendor's receipt and reply keys above, or add the license that is in force."],
  "browser/database": ["This is a database of a report.", "Verify the .usage file, or use: meterseal report verify FILE"],
  "browser/wrapped": ["This browser cannot unpack the file.", "Unpack it first, then verify the text."],
  "browser/unreadable": ["The file cannot be read.", "Choose it again."],
};

/** meaning says what a code means. */
export const meaning = (code: string): string => CODES[code]?.[0] ?? code;

/** todo says what to do about it. */
export const todo = (code: string): string => CODES[code]?.[1] ?? "";
