//! `->` and `->>`: access to what is inside of JSON; and casts to JSON.
//!
//! A chain `payload -> 'a' -> 0 ->> 'b'` is one call, so that nothing is built on the way.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion_common::cast::as_string_array;
use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_sql::sqlparser::ast::BinaryOperator;

use crate::compile::types;
use crate::json::{self, Kind};
use crate::plan;

/// What a function does with JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::compile) enum Json {
    /// `->`, as JSON.
    Get,
    /// `->>`, as TEXT.
    GetText,
    /// `CAST(... AS JSON)`: an error where it is none.
    Parse,
    /// `TRY_CAST(... AS JSON)`: NULL where it is none.
    TryParse,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    json: Json,
    signature: Signature,
}

/// Plans the operators.
#[derive(Debug)]
pub(in crate::compile) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let json = match expr.op {
            BinaryOperator::Arrow => Json::Get,
            BinaryOperator::LongArrow => Json::GetText,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let mut args = match expr.left {
            Expr::ScalarFunction(inner) if of(&inner) == Some(Json::Get) => inner.args,
            left => vec![left],
        };
        args.push(expr.right);
        Ok(PlannerResult::Planned(call(json, args)))
    }
}

/// A call of one of the functions.
fn call(json: Json, args: Vec<Expr>) -> Expr {
    let signature = Signature::variadic_any(Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Function { json, signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, args))
}

/// A function in the place of a cast to JSON, which to the library is a cast of text to text.
pub(in crate::compile) fn cast_to_json(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::Cast(cast) if plan::is_json(&cast.field) => {
            Transformed::yes(call(Json::Parse, vec![*cast.expr]))
        }
        Expr::TryCast(cast) if plan::is_json(&cast.field) => {
            Transformed::yes(call(Json::TryParse, vec![*cast.expr]))
        }
        other => Transformed::no(other),
    }
}

/// Which of the functions is called, if any.
pub(in crate::compile) fn of(call: &ScalarFunction) -> Option<Json> {
    call.func.inner().downcast_ref::<Function>().map(|function| function.json)
}

impl Json {
    /// Whether the result is JSON.
    pub fn gives_json(self) -> bool {
        self != Json::GetText
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.json {
            Json::Get => "json_get",
            Json::GetText => "json_get_text",
            Json::Parse => "json_parse",
            Json::TryParse => "json_try_parse",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let Some((document, path)) = arguments.split_first() else { return plan_err!("JSON of nothing") };
        if !types::is_text(document) && *document != DataType::Null {
            return plan_err!("JSON is read from text, not from {}", types::name(document));
        }
        match path.iter().find(|step| !types::is_text(step) && !step.is_integer() && !step.is_null()) {
            Some(other) => plan_err!("a field has a name, an element a number, not {}", types::name(other)),
            None => Ok(DataType::Utf8),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(plan::field(self.name(), self.return_type(&types)?, true, self.json.gives_json())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let Some((document, path)) = args.args.split_first() else { return exec_err!("JSON of nothing") };
        let document = cast(&document.to_array(rows)?, &DataType::Utf8)?;
        let document = as_string_array(&document)?;
        let result = match self.json {
            Json::Parse | Json::TryParse => self.parse(document)?,
            Json::Get | Json::GetText => {
                let path = path.iter().map(|step| Path::of(step, rows)).collect::<Result<Vec<_>>>()?;
                self.get(document, &path)
            }
        };
        Ok(if scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(Arc::new(result))
        })
    }
}

/// One step into a document.
enum Path {
    Field(String),
    Element(i64),
    /// The same for no row.
    Nowhere,
    Fields(ArrayRef),
    Elements(ArrayRef),
}

impl Path {
    fn of(step: &ColumnarValue, rows: usize) -> Result<Path> {
        Ok(match step {
            ColumnarValue::Scalar(scalar) => match scalar {
                value if value.is_null() => Path::Nowhere,
                value if types::is_text(&value.data_type()) => {
                    Path::Field(value.try_as_str().flatten().unwrap_or_default().to_owned())
                }
                value => match value.cast_to(&DataType::Int64)? {
                    ScalarValue::Int64(Some(index)) => Path::Element(index),
                    _ => Path::Nowhere,
                },
            },
            column if types::is_text(&column.data_type()) => {
                Path::Fields(cast(&column.to_array(rows)?, &DataType::Utf8)?)
            }
            column => Path::Elements(cast(&column.to_array(rows)?, &DataType::Int64)?),
        })
    }

    fn find(&self, text: &str, row: usize) -> Option<json::Token> {
        match self {
            Path::Field(name) => json::field(text, name),
            Path::Element(index) => json::element(text, *index),
            Path::Nowhere => None,
            Path::Fields(names) if names.is_valid(row) => {
                json::field(text, names.as_string::<i32>().value(row))
            }
            Path::Elements(indices) if indices.is_valid(row) => {
                json::element(text, indices.as_primitive::<Int64Type>().value(row))
            }
            Path::Fields(_) | Path::Elements(_) => None,
        }
    }
}

impl Function {
    fn get(&self, documents: &StringArray, path: &[Path]) -> StringArray {
        let mut found = StringBuilder::with_capacity(documents.len(), 0);
        let mut scratch = String::new();
        for (row, document) in documents.iter().enumerate() {
            let Some((text, token)) = document.and_then(|document| inside(document, path, row)) else {
                found.append_null();
                continue;
            };
            match (self.json, token.kind) {
                (Json::Get, _) => found.append_value(token.raw(text)),
                (_, Kind::Null) => found.append_null(),
                (_, Kind::Text | Kind::Escaped) => found.append_value(token.content(text, &mut scratch)),
                _ => found.append_value(token.raw(text)),
            }
        }
        found.finish()
    }

    fn parse(&self, texts: &StringArray) -> Result<StringArray> {
        let mut parsed = StringBuilder::with_capacity(texts.len(), texts.values().len());
        for text in texts {
            match text.map(|text| (text, json::is_json(text))) {
                None => parsed.append_null(),
                Some((text, Ok(()))) => parsed.append_value(text),
                Some((_, Err(_))) if self.json == Json::TryParse => parsed.append_null(),
                Some((_, Err(error))) => return exec_err!("the text is no JSON: {error}"),
            }
        }
        Ok(parsed.finish())
    }
}

/// The value at the end of a path, with the text that its token is a part of.
fn inside<'t>(document: &'t str, path: &[Path], row: usize) -> Option<(&'t str, json::Token)> {
    let (last, steps) = path.split_last()?;
    let mut text = document;
    for step in steps {
        text = step.find(text, row)?.raw(text);
    }
    Some((text, last.find(text, row)?))
}
