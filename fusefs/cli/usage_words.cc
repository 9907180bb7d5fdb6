#include "fusefs/cli/usage_words.h"

#include <algorithm>

namespace linkspan::cli {

namespace {

constexpr size_t kShortWord = 4;  // of so many letters two others are another word

// Letters to add, drop or change; two that changed places count once.
size_t distance(const std::string& from, const std::string& to) {
  std::vector<std::vector<size_t>> cost(from.size() + 1, std::vector<size_t>(to.size() + 1));
  for (size_t i = 0; i <= from.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= to.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= from.size(); ++i)
    for (size_t j = 1; j <= to.size(); ++j) {
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  return cost[from.size()][to.size()];
}

}  // namespace

std::string nearest_word(const std::string& word, const std::vector<std::string>& candidates) {
  constexpr size_t kLongest = 64;  // of what is compared
  if (word.size() < 2 || word.size() > kLongest) return {};
  std::string nearest;
  size_t best = (word.size() <= kShortWord ? 1 : 2) + 1;
  for (const auto& candidate : candidates) {
    if (const size_t far = distance(word, candidate); far < best) {
      best = far;
      nearest = candidate;
    }
  }
  if (!nearest.empty()) return nearest;
  for (const auto& candidate : candidates)
    if (candidate.rfind(word, 0) == 0) return candidate;
  return {};
}

size_t command_begin(const std::vector<std::string>& words, size_t from,
                     const std::function<bool(const std::string&)>& takes_value) {
  size_t at = from;
  for (; at < words.size(); ++at) {
    const auto& word = words[at];
    if (word == "--" || word.size() < 2 || word[0] != '-') return at;
    if (word.find('=') == std::string::npos && takes_value(word)) ++at;
  }
  return words.size();
}

}  // namespace linkspan::cli
