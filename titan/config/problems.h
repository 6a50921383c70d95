// The user's mistakes, collected so that one run shows all of them. Each is one line that starts with the key as
// typed: `optimizer.lr: must be above 0, got -1; use for example 8e-4`. Whoever judges a part of a job (this
// folder, the model, the data) adds to the same list.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace titan::config {

class Problems {
 public:
  void add(std::string line);

  // Later lines about `key` name it as the user wrote it, under an older name.
  void written_as(std::string key, std::string typed);

  bool empty() const { return lines_.empty(); }
  const std::vector<std::string>& lines() const { return lines_; }

  // Throws c10::ValueError with the lines, in the order of their finding, if there are any: at most 12 lines, of
  // which the last says how many more there are.
  void throw_if_any() const;

 private:
  std::vector<std::string> lines_;
  std::map<std::string, std::string> typed_;
};

}  // namespace titan::config
