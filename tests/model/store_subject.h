// A store as the subject of a random sequence: paths are resolved by lookups, node numbers are
// hidden. Between two stores the replies are compared, too.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/model/subject.h"
#include "tests/support/world.h"

namespace linkspan::test {

// Facts that both sides must agree on beforehand.
constexpr Time kProvisioned{1700000000000000123};  // World's first moment
constexpr uint32_t kCreatorUid = 1000, kCreatorGid = 1001;
constexpr Time commit_mtime(Time now) {
  return Time{now.ns - 7};
}
std::string describe_change(const std::string& what, const std::string& path,
                            const std::string& old_path, uint64_t version, uint64_t size);

class StoreSubject final : public Subject {
 public:
  // `verbose`: outcomes tell whole replies, for a comparison of two stores.
  StoreSubject(std::shared_ptr<store::Store> store, const std::string& tenant, bool verbose);
  std::string apply(const Op& op, Time now) override;
  Snapshot snapshot() override;
  std::vector<std::string> epilogue() override;

 private:
  using Outcome = Result<store::Applied>;
  struct Place {
    Ino dir;
    std::string name;
  };

  std::string run(std::function<Outcome(const store::Mutation&)> call, bool by_number,
                  std::function<std::string(const store::Applied&)> tell);
  std::string mutate(const Op& op);
  std::string create(const Op& op, Kind kind);
  std::string rename(const Op& op);
  std::string set(const Op& op);
  std::string commit(const Op& op);
  std::string keep(const CommitRequest& commit);
  std::string xattr(const Op& op);
  std::string prune(const Op& op);
  std::string tell_reply(const store::Applied& applied);
  void tell_holes(const std::string& path, Ino ino, const VersionInfo& info,
                  std::vector<std::string>* out);
  std::string name_of(Ino ino);

  Result<Ino> find(const std::string& designator);
  Result<Place> find_place(const std::string& designator);
  NodeFacts facts(const Node& node);
  void walk(Ino dir, const std::string& path, Snapshot* out);
  std::string check_usage();

  World world_;
  bool verbose_;
  Time now_;
  std::string tenant_;
  bool pruned_ = false;
  std::array<Ino, kSlots> slots_{};
  std::function<Outcome()> last_;
  std::string last_outcome_;
  std::optional<MutationReply> last_reply_;
  std::map<Ino, std::string> labels_;
  std::set<Seq> ambiguous_;  // changes by number of a node with several names
  int64_t used_bytes_ = 0, used_files_ = 0;
  std::map<Ino, uint64_t> live_;  // of the last walk: allocated bytes
};

}  // namespace linkspan::test
