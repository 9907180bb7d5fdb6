// What is said of a command line that is wrong, and where the command of `run` begins. No CLI11.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace linkspan::cli {

// The candidate that `word` was probably meant to be: begins with it, or differs in at most two
// letters (one, of a short word). Empty: none.
std::string nearest_word(const std::string& word, const std::vector<std::string>& candidates);

// Of `run`: the index of the first word that is none of its own options, which is the command's
// name or the "--" before it; the number of words if there is none. `takes_value`: whether the
// option of that name is followed by its value.
size_t command_begin(const std::vector<std::string>& words, size_t from,
                     const std::function<bool(const std::string&)>& takes_value);

}  // namespace linkspan::cli
