//! The aggregate functions as the planner sees them: their names and the types of their results.
//!
//! The planner names the columns of a GROUP BY after their expressions, and the library's own functions leave
//! casts out of that name: `sum(x)` and `sum(CAST(x AS DOUBLE))` would be one column. So the planner is given
//! functions of ours, which say all that they were called with. Nothing here computes anything.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::expr::AggregateFunctionParams;
use datafusion_expr::function::AccumulatorArgs;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::compile::types;
use crate::plan::{AggregateFunction, OfPairs};

/// The supported functions; one that has several names is one function per name, so that messages and plans
/// name it as the user did.
const FUNCTIONS: &[(&str, AggregateFunction)] = &[
    ("count", AggregateFunction::Count),
    ("sum", AggregateFunction::Sum),
    ("avg", AggregateFunction::Avg),
    ("mean", AggregateFunction::Avg),
    ("var_pop", AggregateFunction::VarPop),
    ("var_samp", AggregateFunction::VarSamp),
    ("var", AggregateFunction::VarSamp),
    ("variance", AggregateFunction::VarSamp),
    ("stddev_pop", AggregateFunction::StddevPop),
    ("stddev_samp", AggregateFunction::StddevSamp),
    ("stddev", AggregateFunction::StddevSamp),
    ("bool_and", AggregateFunction::BoolAnd),
    ("bool_or", AggregateFunction::BoolOr),
    ("bit_and", AggregateFunction::BitAnd),
    ("bit_or", AggregateFunction::BitOr),
    ("bit_xor", AggregateFunction::BitXor),
    ("min", AggregateFunction::Min),
    ("max", AggregateFunction::Max),
    ("first_value", AggregateFunction::FirstValue),
    ("last_value", AggregateFunction::LastValue),
    ("approx_distinct", AggregateFunction::ApproxDistinct),
    ("string_agg", AggregateFunction::StringAgg),
    ("array_agg", AggregateFunction::ArrayAgg),
    ("median", AggregateFunction::Median),
    ("percentile_cont", AggregateFunction::PercentileCont),
    ("quantile_cont", AggregateFunction::PercentileCont),
    ("approx_percentile_cont", AggregateFunction::ApproxPercentileCont),
    ("sigma_clipped_percentile", AggregateFunction::SigmaClippedPercentile),
    ("corr", AggregateFunction::OfPairs(OfPairs::Corr)),
    ("covar_pop", AggregateFunction::OfPairs(OfPairs::CovarPop)),
    ("covar_samp", AggregateFunction::OfPairs(OfPairs::CovarSamp)),
    ("covar", AggregateFunction::OfPairs(OfPairs::CovarSamp)),
    ("regr_avgx", AggregateFunction::OfPairs(OfPairs::RegrAvgx)),
    ("regr_avgy", AggregateFunction::OfPairs(OfPairs::RegrAvgy)),
    ("regr_count", AggregateFunction::OfPairs(OfPairs::RegrCount)),
    ("regr_intercept", AggregateFunction::OfPairs(OfPairs::RegrIntercept)),
    ("regr_r2", AggregateFunction::OfPairs(OfPairs::RegrR2)),
    ("regr_slope", AggregateFunction::OfPairs(OfPairs::RegrSlope)),
    ("regr_sxx", AggregateFunction::OfPairs(OfPairs::RegrSxx)),
    ("regr_sxy", AggregateFunction::OfPairs(OfPairs::RegrSxy)),
    ("regr_syy", AggregateFunction::OfPairs(OfPairs::RegrSyy)),
];

/// What is supported, for hints.
pub(in crate::compile) const SUPPORTED: &str = "supported are count, sum, avg, min, max, first_value, last_value, \
    var_pop, var_samp, stddev_pop, stddev_samp, bool_and, bool_or, bit_and, bit_or, bit_xor, approx_distinct, \
    string_agg, array_agg, median, percentile_cont, approx_percentile_cont, sigma_clipped_percentile, corr, covar_pop, \
    covar_samp and regr_*";

/// All functions for the planner: ours, and those of the library that are refused by name.
pub(in crate::compile) fn all() -> Vec<(String, Arc<AggregateUDF>)> {
    let mut all = Vec::new();
    for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
        let names = function.aliases().iter().cloned().chain([function.name().to_owned()]);
        all.extend(names.map(|name| (name, Arc::clone(&function))));
    }
    for &(name, function) in FUNCTIONS {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let planned = AggregateUDF::new_from_impl(Planned { name, function, signature });
        all.push((name.to_owned(), Arc::new(planned)));
    }
    all
}

/// The supported aggregate function of this name.
pub(in crate::compile) fn function(name: &str) -> Option<AggregateFunction> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
}

/// The type of the result over values of `argument`, which is a type of columns.
pub(super) fn result(function: AggregateFunction, argument: &DataType) -> DataType {
    use AggregateFunction as F;
    match (function, argument) {
        (F::Count | F::ApproxDistinct | F::BitAnd | F::BitOr | F::BitXor, _) => DataType::Int64,
        (F::Sum, DataType::Int32 | DataType::Int64) => DataType::Int64,
        (F::Sum | F::Avg | F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp, _) => DataType::Float64,
        (F::Median | F::PercentileCont | F::ApproxPercentileCont | F::SigmaClippedPercentile, _) => {
            DataType::Float64
        }
        (F::OfPairs(OfPairs::RegrCount), _) => DataType::Int64,
        (F::OfPairs(_), _) => DataType::Float64,
        (F::BoolAnd | F::BoolOr, _) => DataType::Boolean,
        (F::StringAgg | F::ArrayAgg, _) => DataType::Utf8,
        (F::Min | F::Max | F::FirstValue | F::LastValue | F::FirstRows, argument) => argument.clone(),
    }
}

/// Whether it always has a result; the others have none where there are no values.
pub(super) fn counts(function: AggregateFunction) -> bool {
    use AggregateFunction as F;
    matches!(function, F::Count | F::ApproxDistinct | F::OfPairs(OfPairs::RegrCount))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    function: AggregateFunction,
    signature: Signature,
}

impl AggregateUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.display_name(params)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        // A type that no column can have is refused where the argument is compiled.
        let argument = arguments.first().unwrap_or(&DataType::Null);
        let argument = types::column(argument).unwrap_or_else(|_| argument.clone());
        Ok(result(self.function, &argument))
    }

    fn is_nullable(&self) -> bool {
        !counts(self.function)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is not computed by the library", self.name)
    }

    fn supports_within_group_clause(&self) -> bool {
        self.function.constants_within_group().is_some()
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.function.keeps_nulls()
    }
}
