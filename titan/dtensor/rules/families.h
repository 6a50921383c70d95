// The families of sharding rules. Each function puts its operators' rules in the table.
#pragma once

namespace titan::dtensor {

class RuleTable;

void add_pointwise_rules(RuleTable& table);
void add_reduction_rules(RuleTable& table);
void add_matmul_rules(RuleTable& table);
void add_view_rules(RuleTable& table);
void add_copy_rules(RuleTable& table);
void add_factory_rules(RuleTable& table);
void add_indexing_rules(RuleTable& table);
void add_normalization_rules(RuleTable& table);
void add_attention_rules(RuleTable& table);
void add_loss_rules(RuleTable& table);
void add_random_rules(RuleTable& table);
void add_optimizer_rules(RuleTable& table);
void add_own_rules(RuleTable& table);

}  // namespace titan::dtensor
