// Where a mount's token comes from. Never the command line: that is everybody's to read.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

struct TokenSource {
  std::string file;  // --token-file
  int fd = -1;       // --token-fd
};

// What the environment says of the token.
struct TokenVariables {
  std::string token, file;  // LINKSPAN_TOKEN, LINKSPAN_TOKEN_FILE
};
// Removes them from this process, and wipes them from its visible environment; the descriptor of
// `source` is closed in programs that are run from here. To be called before any is.
TokenVariables take_token_variables(const TokenSource& source = {});

// The first of: `source`, `variables`, $CREDENTIALS_DIRECTORY/linkspan-token. `unauthenticated`
// names the mend; it is also the answer to a file that others can write, or one of our own that
// they can read.
Result<std::string> read_token(const TokenSource& source, const TokenVariables& variables);

// "lsp_" and 43 base64url characters.
bool has_token_form(const std::string& token);

}  // namespace linkspan::cli
