#include "fusefs/client/addresses.h"

#include <algorithm>

namespace linkspan::client {

namespace {

std::vector<std::string> split_at_commas(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

}  // namespace

Addresses::Addresses(const std::string& list)
    : addresses_(split_at_commas(list)), said_(addresses_.size()) {}

void Addresses::next() {
  current_ = (current_ + 1) % addresses_.size();
  in_a_row_ = (in_a_row_ + 1) % addresses_.size();
}

void Addresses::note(const Error& error, bool answered) {
  said_[current_] = {error.message, answered};
}

void Addresses::forget_said() {
  said_.assign(addresses_.size(), {});
}

std::string Addresses::said() const {
  if (addresses_.size() == 1) return said_.front().text;
  std::string all;
  for (size_t i = 0; i < addresses_.size(); ++i) {
    if (said_[i].text.empty() && !said_[i].answered) continue;
    all += (all.empty() ? "" : "; ") + addresses_[i] + (said_[i].answered ? " answered: " : ": ") +
           said_[i].text;
  }
  return all;
}

bool Addresses::any_answered() const {
  return std::any_of(said_.begin(), said_.end(), [](const Said& one) { return one.answered; });
}

}  // namespace linkspan::client
