// Where a mount's token comes from. Never the command line: that is everybody's to read.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

struct TokenSource {
  std::string file;  // --token-file
  int fd = -1;       // --token-fd
};

// The first of: `source`, $LINKSPAN_TOKEN, $LINKSPAN_TOKEN_FILE,
// $CREDENTIALS_DIRECTORY/linkspan-token. The environment variables are removed from this process
// (and wiped from its visible environment) in any case. `unauthenticated` names the mend;
// it is also the answer to a file that others can write, or one of our own that they can read.
Result<std::string> read_token(const TokenSource& source);

// "lsp_" and 43 base64url characters.
bool has_token_form(const std::string& token);

}  // namespace linkspan::cli
